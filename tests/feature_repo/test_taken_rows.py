"""Values taken by the numbers of rows are those that pyarrow takes, nulls in their places, for every kind of type."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.taken_rows import TakenRows

COLUMNS: dict[str, pa.Array] = {
    "integers": pa.array([1, None, 3], pa.int32()),
    "doubles": pa.array([0.5, float("nan"), None]),
    "booleans": pa.array([True, None, False]),
    "texts": pa.array(["größe", None, ""]),
    "bytes": pa.array([b"\x00", None, b""], pa.large_binary()),
    "instants": pa.array([datetime(2026, 1, 1, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")),
    "days": pa.array([date(2026, 1, 1), None, date(1900, 1, 1)]),
    "decimals": pa.array([Decimal("1.25"), None, Decimal("-0.01")], pa.decimal128(20, 2)),
    "lists": pa.array([[1, None], None, []], pa.list_(pa.int64())),
    "structs": pa.array([{"a": 1}, None, {"a": None}], pa.struct([("a", pa.int64())])),
    "codes": pa.array(["x", None, "y"]).dictionary_encode(),
    "nothing": pa.nulls(3),
}
ROWS = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=20)


def _texts(values: pa.Array) -> list[str]:
    return [str(value) for value in values.to_pylist()]  # a text, since NaN does not equal itself


@pytest.mark.parametrize("piece", ["whole", "slice", "without nulls"])
@pytest.mark.parametrize("name", COLUMNS)
@given(rows=ROWS)
def test_taken_values_are_those_of_pyarrow(name: str, piece: str, rows: list[tuple[int, bool]]) -> None:
    column = COLUMNS[name]
    if piece == "slice":
        column = pa.concat_arrays([column[1:], column])[2:]
    if piece == "without nulls":
        column = pa.concat_arrays([column[:1]] * 3)
    numbers: Any = np.array([number for number, _ in rows], np.int64)
    known = np.array([is_known for _, is_known in rows])
    taken = TakenRows.of(pa.record_batch({"value": column})).take(numbers, known)
    taken.validate(full=True)
    expected = column.take(pa.array(numbers, mask=~known))
    assert (taken["value"].type, _texts(taken["value"])) == (expected.type, _texts(expected))
    assert taken["value"].null_count == expected.null_count


def test_rows_that_are_none_give_nulls() -> None:
    rows = TakenRows.of(pa.record_batch({"value": pa.array([], pa.int64())}))
    assert rows.take(np.array([0, 0]), np.array([False, False]))["value"].to_pylist() == [None, None]
