"""One event judged without an engine: what it accepts is clean in silver, with the same values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from pipelines.engine.session import Engine
from pipelines.verdict import event, verdict
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text
from tests.pipelines.verdict.judged_blocks import bronze, codes, in_order

TYPES: dict[str, dict[str, Any]] = {
    "int": {"physicalType": "int"},
    "bigint": {"physicalType": "bigint"},
    "double": {"physicalType": "double"},
    "any double": {"physicalType": "double", "customProperties": [{"property": "nonFinite", "value": "allowed"}]},
    "float": {"physicalType": "float"},
    "decimal": {"physicalType": "decimal(8,2)"},
    "boolean": {"physicalType": "boolean"},
    "date": {"physicalType": "date"},
    "timestamp": {"physicalType": "timestamp"},
}
LOGICAL = {"int": "integer", "bigint": "integer", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}
DAYS = st.sampled_from(
    [
        "2013-03-10",
        "2013-2-3",
        "2013-02-30",
        "0999-12-31",
        "1000-01-01",
        "9999-12-31",
        "10000-01-01",
        "0000-01-01",
        "٢013-01-01",
    ]
)
CLOCKS = st.sampled_from(
    ["", " 02:30:00", "T23:59:59.999999", "t1:02", " 00:00:00.123456789", " 24:00:00", " 12:00:60", "T12", "  12:00:00"]
)
OFFSETS = st.sampled_from(
    [
        "",
        "Z",
        "z",
        " UTC",
        "utc",
        "+00",
        "+0200",
        " -05:00",
        "+14:00",
        "-12",
        "+15:59",
        "+16",
        "+2",
        "Z\n",
        "\n",
        " CET",
    ]
)
TIMES = st.tuples(DAYS, CLOCKS, OFFSETS).map("".join)
NUMBERS = st.text(st.sampled_from("0123456789+-. eE\t\n٣_"), min_size=1, max_size=11)
WORDS = st.sampled_from(
    [
        "true",
        "T",
        "no",
        "1",
        "0",
        "nan",
        "-inf",
        "Infinity",
        "1e400",
        "1e39",
        "9223372036854775808",
        "-2147483648",
        "999999.99",
        "1000000",
        "0.100",
        ".5",
        "5.",
        "",
        "\n5",
    ]
)
JSON_VALUES = st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@settings(
    max_examples=5,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sent=st.lists(TIMES | NUMBERS | WORDS | JSON_VALUES, min_size=150, max_size=150))
@example(
    sent=[
        "2013-03-10 02:30:00",
        "9999-12-31T23:59:59-05:00",
        "1000-01-01T00:00:00+05:00",
        "2013-02-03 12:00:00+00\n",
        "٢013-01-01",
        "3.4028235677973366e38",
        "3.4028235677973367e38",
        f"1.00{30 * '0'}",
        f"1.{100 * '0'}",
    ]
)
@pytest.mark.parametrize("kind", TYPES)
def test_an_event_and_silver_take_the_same_texts_for_the_same_values(
    sail: Engine, tmp_path: Path, kind: str, sent: list[Any]
) -> None:
    column = {"name": "holes", "logicalType": LOGICAL.get(TYPES[kind]["physicalType"], "number"), "description": "d"}
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", [column | TYPES[kind]], nullTokens=["", "0"])
    landed = [value if isinstance(value, str) else json.dumps(value) for value in sent]
    rows = verdict.typed(bronze(sail, [{"holes": value} for value in landed]), contract)
    judged = in_order(verdict.judge(rows, contract, {}))
    for value, row in zip(sent, judged, strict=True):
        values, broken = event.check({"holes": value}, contract)
        assert (value, bool(broken)) == (value, bool(codes(row)))
        assert broken or (value, repr(values["holes"])) == (value, repr(_plain(row["holes"])))


def _plain(value: Any) -> Any:
    """A value of a frame as an event has it: an instant with the offset of UTC in place of its time zone."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@pytest.mark.parametrize(
    ("value", "holds"),
    [("AB", True), ("AB\n", False), ("A٣", False), ("ab", False), (["AB"], False), (None, True)],
)  # fmt: skip
def test_a_pattern_means_the_same_for_an_event_as_in_silver(tmp_path: Path, value: Any, holds: bool) -> None:
    column = text("code", logicalTypeOptions={"pattern": r"^[A-Z][A-Z\d]$"})
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", [column])
    assert (event.check({"code": value}, contract)[1] == []) is holds
