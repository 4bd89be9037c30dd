"""The types that texts get: those whose values give back every text exactly, read as silver reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from pipelines.contracts.model import Column
from pipelines.engine.session import Engine
from pipelines.landing.proposal.texts import ColumnTexts, snake_case
from pipelines.verdict import text_values


def column(*texts: str, name: str = "v") -> ColumnTexts:
    added = ColumnTexts(name)
    for row, text in enumerate(texts, 1):
        added.add(text, 1, f"row {row}")
    return added


@pytest.mark.parametrize(("texts", "type"), [
    (["1", "-20", "0"], "bigint"),
    (["1234567890123456789", "1234567890123456790"], "bigint"),
    (["9223372036854775807"], "bigint"),
    (["9223372036854775808"], "string"),
    (["18446744073709551615", "1"], "string"),
    (["007", "7"], "string"),
    (["+7"], "string"),
    (["-0"], "string"),
    ([" 7"], "string"),
    (["1_000"], "string"),
    (["1,5"], "string"),
    (["٣"], "string"),
    (["1.5", "2.25"], "double"),
    (["1.0", "2.5"], "double"),
    (["1", "2.5"], "double"),
    (["1", "2.0"], "string"),
    (["1.1", "1.10"], "string"),
    (["1.50", "2.25"], "decimal(18,2)"),
    (["12345678901234567.50"], "decimal(38,2)"),
    (["0.1234567890123456789"], "decimal(38,19)"),
    (["1234567890123456.5", "1.5"], "decimal(38,1)"),
    (["9007199254740993", "1.5"], "string"),
    (["1e5"], "string"),
    (["1e-07", "0.5"], "double"),
    (["-0.0"], "string"),
    (["5."], "string"),
    ([".5"], "string"),
    (["nan", "1.5"], "double"),
    (["inf"], "string"),
    (["true", "false"], "boolean"),
    (["True", "False"], "boolean"),
    (["true", "False"], "string"),
    (["yes", "no"], "string"),
    (["0", "1"], "bigint"),
    (["2026-11-19"], "date"),
    (["2026-02-30"], "string"),
    (["2026-1-5"], "string"),
    (["0999-01-01"], "string"),
    (["2026-11-19", "2026-11-19T08:00:00Z"], "string"),
    (["2026-11-19T08:00:00Z", "2026-11-19 08:00:00.123456+02:00"], "timestamp"),
    (["2026-11-19 08:00:00"], "timestamp"),
    (["2026-11-19 08:00:00", "2026-11-19T08:00:00Z"], "string"),
    (["2026-11-19T08:00:00.123456789Z"], "string"),
    (["9999-12-31T23:59:59-05:00"], "string"),
    (["2026-11-19T24:00:00Z"], "string"),
    ([], "string"),
    (["", ""], "string"),
    (["NA", "null"], "string"),
    (["NA", "DE"], "string"),
    (["a"], "string"),
])  # fmt: skip
def test_a_column_has_the_type_that_gives_back_every_text(texts: list[str], type: str) -> None:
    assert column(*texts).type == type


@pytest.mark.parametrize(
    "name", ["zip", "ZIP Code", "postal_code", "ean", "phone", "customer-phone", "accountCode", "plz"]
)
def test_a_column_that_is_named_like_a_code_is_text_before_its_first_leading_zero(name: str) -> None:
    assert column("90210", "10115", name=name).type == "string"
    assert "named like a code" in str(column("90210", name=name).note)


@pytest.mark.parametrize(("texts", "type", "tokens"), [
    (["3", "84", "NA"], "bigint", ["NA"]),
    (["1.5", "-", "n/a"], "double", ["-", "n/a"]),
    (["2026-11-19", "NULL"], "date", ["NULL"]),
    (["NA", "DE", "ZA"], "string", []),
    (["None", "NA"], "string", []),
])  # fmt: skip
def test_a_text_stands_for_null_only_in_a_column_of_another_type(
    texts: list[str], type: str, tokens: list[str]
) -> None:
    assert (column(*texts).type, column(*texts).null_tokens) == (type, tokens)


def test_a_column_of_which_most_texts_have_a_type_names_the_first_that_has_not() -> None:
    note = column("1.50", "2.50", "a lot", "3.50").note
    assert note == "v is text: a type of numbers gives back 3 of 4 texts, and not 'a lot' (row 3)"
    assert column("a", "b", "1").note is None
    assert "space around them" in str(column("1 ", " 2").note)
    assert "no UTC offset" in str(column("2026-11-19 08:00:00").note)


def test_a_column_of_yes_and_no_is_text_and_said_to_be_one_that_a_boolean_reads() -> None:
    reads = "v is text: a column declared `boolean` reads"
    assert (column("yes", "no", "Y").type, column("yes", "no", "Y").note) == (
        "string", f"{reads} all texts, as yes and no, if that is what they mean",
    )  # fmt: skip
    assert column("yes", "no", "yes", "maybe").note == f"{reads} 3 of 4 texts, as yes and no, and not 'maybe' (row 4)"
    assert column("NO", "DE", "SE").note is None


def test_names_are_compared_in_snake_case() -> None:
    assert [snake_case(name) for name in ("orderId", "Order ID", " order-id", "ORDER_ID")] == ["order_id"] * 4


FIRST, LAST = datetime.fromisoformat("1000-01-02"), datetime.fromisoformat("9999-12-30")
TEXTS = st.one_of(
    st.integers(-(1 << 66), 1 << 66).map(str),
    st.decimals(-(10**9), 10**9, places=3, allow_nan=False).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.datetimes(FIRST, LAST).map(str),
    st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(lambda instant: instant.isoformat()),
    st.dates().map(str),
    st.from_regex(r"[+-]?0{0,2}[0-9]{1,3}(\.[0-9]{0,3})?(e[+-]?[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2})?( ?(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?))?)?",
                  fullmatch=True),
    st.sampled_from(["true", "False", "NA", "-", "nan", "1_0", "\u0663"]),
)  # fmt: skip


def written(value: Any, text: str) -> bool:
    """Whether a value that an engine read is the value of a text, and of no other text of the kind."""
    if isinstance(value, bool):
        return str(value).lower() == text.lower()
    if isinstance(value, datetime):
        offset = "" if text[-6:-5] in "+-" or text.endswith("Z") else "+00:00"
        return value.replace(tzinfo=UTC) == datetime.fromisoformat(
            text.replace(" UTC", "Z").replace("UTC", "Z") + offset
        )
    if isinstance(value, float):
        return value == float(text)
    return str(value) == text


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=20, max_size=100, unique=True))
def test_silver_reads_every_text_of_a_proposed_type_as_its_value(each_engine: Engine, texts: list[str]) -> None:
    types = {text: column(text).type for text in texts}
    for type in sorted(set(types.values()) - {"string"}):
        typed = [text for text in texts if types[text] == type]
        frame = each_engine.session.createDataFrame(pa.table({"text": typed}))
        reading = text_values.read(F.col("text"), Column("v", type, ""), each_engine.kind)
        rows = frame.select("text", reading.value.alias("value")).toArrow().to_pylist()
        assert [(row["text"], type) for row in rows if not written(row["value"], row["text"])] == []
