"""Which texts are values of a type, with the same result on both engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from pipelines.contracts.model import Column
from pipelines.engine.session import Engine
from pipelines.verdict import text_values, verdict
from tests.pipelines import toy_contracts
from tests.pipelines.verdict.judged_blocks import bronze, codes, in_order


@dataclass(frozen=True)
class Texts:
    """A column's physical type and custom properties, its texts with their values, and texts that are not values."""

    type: str
    accepted: dict[str, Any]
    refused: list[str]
    properties: dict[str, str] = field(default_factory=dict)


NOON = datetime(2013, 2, 3, 12, 0, tzinfo=UTC)
TEXTS = {
    "int": Texts("int", {"5": 5, " 5\t": 5, "+5": 5, "-0": 0, "007": 7}, ["5.0", "1e3", "0x1F", "1_000", "", "2147483648", "\x005", "\uff11\uff12"]),
    "bigint": Texts("bigint", {"2147483648": 2**31}, ["9223372036854775808", "true"]),
    "double": Texts("double", {"5": 5.0, "1e3": 1000.0, ".5": 0.5, "5.": 5.0}, ["NaN", "-inf", "Infinity", "1e400", "1.5d", "1,5", "0x1"]),
    "any double": Texts("double", {"-inf": float("-inf"), "+Infinity": float("inf"), "1e400": float("inf")}, ["nana"], {"nonFinite": "allowed"}),
    "float": Texts("float", {"0.5": 0.5}, ["nan", "1e39", "1.5f"]),
    "decimal": Texts(
        "decimal(6,2)", {"1.25": Decimal("1.25"), "1.5": Decimal("1.50"), "1.2500": Decimal("1.25"), "-.25": Decimal("-0.25"), " 9999.99 ": Decimal("9999.99"), f"1.25{30 * '0'}": Decimal("1.25")},
        [f"1.25{31 * '0'}", f"1.{100 * '0'}", "1.234", "10000", "1e3", "NaN", "\u00a05"],
    ),
    "decimal without decimals": Texts("decimal(6, 0)", {"7": Decimal(7), "7.00": Decimal(7)}, ["7.5", "1000000"]),
    "boolean": Texts("boolean", {"true": True, " TRUE ": True, "t": True, "yes": True, "1": True, "0": False, "n": False}, ["2", "on", "ja", "1.0"]),
    "date": Texts("date", {"2013-02-03": date(2013, 2, 3), " 2013-2-3 ": date(2013, 2, 3)}, ["2013-02-30", "2013", "2013-02", "20130203", "03/02/2013", "2013-02-03T00:00:00", "0000-01-01", "12013-02-03"]),
    "timestamp": Texts(
        "timestamp",
        {"2013-02-03 12:00": NOON, "2013-02-03T12:00:00Z": NOON, "2013-02-03 14:00:00+02:00": NOON, "2013-02-03T12:00:00.000000123": NOON, "2013-02-03": NOON.replace(hour=0),
         "2013-02-03 12:00:00+00": NOON, "2013-02-03 14:00:00.000+0200": NOON, "2013-02-03 06:30-0530": NOON, "2013-02-03 12:00:00 UTC": NOON, " 2013-2-3t12:00:00.5z ": NOON.replace(microsecond=500_000),
         "2013-02-03 12:00:00.123456789 +00:00": NOON.replace(microsecond=123_456), "2013-02-03 04:00:00.1 -08": NOON.replace(microsecond=100_000), "2013-02-03T12:00:00utc": NOON,
         "9999-12-31T23:59:59.999999Z": datetime.max.replace(tzinfo=UTC), "1000-01-01T14:00:00+14:00": datetime(1000, 1, 1, tzinfo=UTC)},
        ["12:00:00", "0999-12-31T12:00:00Z", "2013-02-03 25:00:00", "2013-02-03 12:00:60", "2013-02-30 12:00:00", "now", "2013-02-03 12",
         "9999-12-31T23:59:59-05:00", "1000-01-01T00:00:00+05:00", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2013-02-03 24:00:00",
         "2013-02-03 12:00:00+2", "2013-02-03 12:00:00+16:00", "2013-02-03 12:00:00+05:60", "2013-02-03 12:00:00 CET", "2013-02-03Z", "2013-02-03 +00", "2013-02-03  12:00:00", "2013-02-03 12:00:00Z Z", "2013-02-03 12:00:00Z+00"],
    ),
    "clock": Texts("timestamp", {"2013-02-03 07:00:00": NOON, "2013-07-01": datetime(2013, 7, 1, 4, tzinfo=UTC), "2013-02-03t07:00": NOON}, ["2013-02-03T12:00:00Z", "2013-02-03 12:00:00+00", "9999-12-31 22:00:00"], {"timezone": "America/New_York"}),
}  # fmt: skip
LOGICAL = {"int": "integer", "bigint": "integer", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}


@pytest.mark.parametrize("case", TEXTS)
def test_both_engines_take_the_same_texts_for_values(each_engine: Engine, tmp_path: Path, case: str) -> None:
    texts = TEXTS[case]
    column = {"name": "holes", "logicalType": LOGICAL.get(texts.type, "number"), "physicalType": texts.type}
    column["customProperties"] = [{"property": k, "value": v} for k, v in texts.properties.items()]  # type: ignore[assignment]
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", [column])
    rows = bronze(each_engine, [{"holes": value} for value in (*texts.accepted, *texts.refused)])
    judged = in_order(verdict.judge(verdict.typed(rows, contract, each_engine.kind), contract, {}))
    values = [None if row["_reasons"] else row["holes"] for row in judged]
    assert values == [*texts.accepted.values(), *[None] * len(texts.refused)]
    assert [codes(row) for row in judged[len(texts.accepted) :]] == [["holes_type"]] * len(texts.refused)


#: Texts of the characters of numbers, of space, and of characters that are neither on one of the engines.
NUMERALS = st.text(st.sampled_from("0123456789+- \t\n\r\f\v.eEx_\u00a0\u0665\uff15"), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(NUMERALS, min_size=50, max_size=50))
@pytest.mark.parametrize("kind", text_values.EXACT_CASTS["embedded"])
def test_an_exact_cast_accepts_the_texts_of_the_grammar(sail: Engine, kind: str, texts: list[str]) -> None:
    column = Column("holes", kind, "Holes.")
    slow, fast = text_values.read(F.col("text"), column), text_values.read(F.col("text"), column, "embedded")
    rows = sail.session.createDataFrame(pa.table({"text": texts}))
    rows = rows.select(slow.value.alias("slow"), fast.value.alias("fast")).toArrow()
    assert rows["slow"].to_pylist() == rows["fast"].to_pylist()


#: Counts of the last place of a decimal: any, and those near the largest of 15 digits.
COUNTS = st.one_of(st.integers(0, 10**15 + 3), st.integers(0, 10**6), st.integers(10**15 - 10**3, 10**15 + 10**3))


@st.composite
def decimals(draw: st.DrawFn, scale: int) -> str:
    """A text with so many digits behind the point, or another number of them, zeros or not."""
    digits = f"{draw(COUNTS):0{scale + 1}d}"
    whole, fraction = digits[: len(digits) - scale], digits[len(digits) - scale :]
    end = draw(st.sampled_from(["", "0", "000", "5"]))
    return draw(st.sampled_from(["", "-", "+", " "])) + whole + ("." if fraction or end else "") + fraction + end


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize(("digits", "scale"), [(15, 0), (15, 2), (15, 15), (7, 2), (14, 7), (3, 1), (16, 2)])
def test_a_decimal_is_the_exact_value_of_its_text(sail: Engine, digits: int, scale: int, data: st.DataObject) -> None:
    column = Column("price", f"decimal({digits},{scale})", "A price.")
    texts = data.draw(st.lists(decimals(scale), min_size=50, max_size=50))
    slow, fast = text_values.read(F.col("text"), column), text_values.read(F.col("text"), column, "embedded")
    rows = sail.session.createDataFrame(pa.table({"text": texts}))
    read = rows.select(slow.value.alias("slow"), fast.value.alias("fast")).toArrow()
    fits = [
        (value := Decimal(text.strip())) == round(value, scale) and abs(value) < 10 ** (digits - scale)
        for text in texts
    ]
    exact = [Decimal(text.strip()) if fit else None for text, fit in zip(texts, fits, strict=True)]
    assert read["fast"].to_pylist() == read["slow"].to_pylist() == exact


def test_a_time_that_the_clocks_skipped_is_named_and_of_two_equal_ones_the_earlier_is_taken(
    each_engine: Engine, tmp_path: Path
) -> None:
    zone = [{"property": "timezone", "value": "America/New_York"}]
    sold = {"name": "sold", "logicalType": "timestamp", "description": "d", "customProperties": zone}
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", [sold])
    texts = ["2013-03-10 01:59:59", "2013-03-10 02:30:00", "2013-03-10 03:00:00", "2013-11-03 01:30:00"]
    typed = verdict.typed(bronze(each_engine, [{"sold": text} for text in texts]), contract)
    rows = in_order(verdict.judge(typed, contract, {}))
    assert [codes(row) for row in rows] == [[], ["sold_nonexistent"], [], []]
    times = [row["sold"] and row["sold"].strftime("%m-%d %H:%M:%S") for row in rows]
    assert times == ["03-10 06:59:59", None, "03-10 07:00:00", "11-03 05:30:00"]


def test_a_column_of_bronze_that_differs_from_a_typed_one_by_case_alone_stays_in_the_row_as_it_arrived(
    each_engine: Engine, tmp_path: Path
) -> None:
    column = toy_contracts.text("SHOP", required=True, transformSourceObjects=["maker"], enum=[{"value": "Ole"}])
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", [column])
    typed = verdict.typed(bronze(each_engine, [{"maker": "Ole", "shop": "North"}, {"shop": "West"}]), contract)
    clean, rejected = in_order(verdict.judge(typed, contract, {}))
    assert (clean["SHOP"], codes(clean), codes(rejected)) == ("Ole", [], ["SHOP_required"])
    assert '"shop":"West"' in rejected["_row"]
