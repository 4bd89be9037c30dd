"""Parquet as bronze rows: the text of each value names that value and no other, or the row is malformed."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines import toy_contracts
from tests.pipelines.landing.bronze_rows import Read, batches, malformed, parquet
from tests.pipelines.toy_contracts import text


def part_texts(folder: Path, array: pa.Array, **options: Any) -> list[str | None]:
    contract = toy_contracts.contract(folder, "bronze/toys/blocks", [text("part")], format="parquet")
    read = batches(folder, contract, parquet({"part": array}, **options))
    assert all(row["_rescued"] is None for batch in read for row in batch.to_pylist())
    return [row["part"] for batch in read for row in batch.to_pylist()]


NOON = datetime(2026, 7, 1, 12, 0, 0, 500_000, tzinfo=UTC)
UUID = uuid.UUID(int=7)
TEXTS: dict[str, tuple[pa.Array, list[str]]] = {
    "zone": (pa.array([NOON], pa.timestamp("us", "America/New_York")), ["2026-07-01 12:00:00.500000Z"]),
    "offset": (pa.array([NOON], pa.timestamp("ms", "+05:30")), ["2026-07-01 12:00:00.500Z"]),
    "nanoseconds": (pa.array([1], pa.timestamp("ns", "Asia/Tokyo")), ["1970-01-01 00:00:00.000000001Z"]),
    "local": (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us")), ["2026-07-01 12:00:00.500000"]),
    "far": (pa.array([253402300799, 253402300800], pa.timestamp("s", "UTC")), ["9999-12-31 23:59:59.000Z", "10000-01-01 00:00:00.000Z"]),
    "date": (pa.array([date(2026, 7, 1), date.max]), ["2026-07-01", "9999-12-31"]),
    "date64": (pa.array([date(2026, 7, 1)], pa.date64()), ["2026-07-01"]),
    "time": (pa.array([time(1, 2, 3, 4)], pa.time64("ns")), ["01:02:03.000004000"]),
    "time32": (pa.array([time(1, 2, 3)], pa.time32("ms")), ["01:02:03.000"]),
    "duration": (pa.array([timedelta(seconds=1)], pa.duration("us")), ["1000000"]),
    "decimal": (pa.array([Decimal(0), Decimal("0.00000001"), Decimal("-1.50000000")], pa.decimal128(20, 8)), ["0.00000000", "0.00000001", "-1.50000000"]),
    "wide decimal": (pa.array([Decimal("1e-30")], pa.decimal256(70, 35)), ["0." + "0" * 29 + "100000"]),
    "half": (pa.array([np.float16(0.1)]), ["0.0999755859375"]),
    "float": (pa.array([0.1, 16777216.0], pa.float32()), ["0.1", "16777216"]),
    "double": (pa.array([0.1, 5e-324, -0.0, 1e300]), ["0.1", "5e-324", "-0", "1e+300"]),
    "unsigned": (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    "dictionary": (pa.array(["a"]).dictionary_encode(), ["a"]),
    "large": (pa.array(["é"], pa.large_string()), ["é"]),
    "bytes": (pa.array([b"\xff\x00"]), ["/wA="]),
    "fixed bytes": (pa.array([b"ab"], pa.binary(2)), ["YWI="]),
    "uuid": (pa.array([UUID.bytes], pa.uuid()), [str(UUID)]),
    "json": (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1.0}'])), ['{"a":1.0}']),
    "list": (pa.array([[Decimal("2.50"), None], []], pa.list_(pa.decimal128(5, 2))), ["[2.50, null]", "[]"]),
    "list of lists": (pa.array([[["a"], None, []]]), ['[["a"], null, []]']),
    "struct": (pa.array([{"n": 2**60, "s": 'é"', "x": float("nan"), "b": True}]), [f'{{"n": {2**60}, "s": "é\\"", "x": "nan", "b": true}}']),
    "map": (pa.array([[("a", 1), ("b", None)]], pa.map_(pa.string(), pa.int64())), ['{"a": 1, "b": null}']),
    "map by number": (pa.array([[(1, [date.max])]], pa.map_(pa.int32(), pa.list_(pa.date32()))), ['{"1": ["9999-12-31"]}']),
    "list of instants": (pa.array([[NOON]], pa.list_(pa.timestamp("us", "Europe/Berlin"))), ['["2026-07-01 12:00:00.500000Z"]']),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_a_value_names_it_exactly(tmp_path: Path, name: str) -> None:
    array, texts = TEXTS[name]
    if isinstance(array, pa.ExtensionArray):
        with_null = pa.ExtensionArray.from_storage(
            array.type, pa.concat_arrays([array.storage, pa.nulls(1, array.storage.type)])
        )
    else:
        with_null = pa.concat_arrays([array, pa.nulls(1, array.type)])
    assert part_texts(tmp_path, with_null) == [*texts, None]


def test_a_list_of_fixed_size_is_a_list(tmp_path: Path) -> None:
    assert part_texts(tmp_path, pa.array([[1, 2]], pa.list_(pa.int8(), 2))) == ["[1, 2]"]


def test_int96_timestamps_are_exact_in_all_years_and_to_the_nanosecond(tmp_path: Path) -> None:
    texts = ["9999-12-31 23:59:59.999999", "1000-01-01 00:00:00.000000", "1969-12-31 23:59:59.999999", None]
    far = pa.array(texts).cast(pa.timestamp("us"))
    near = pa.array([2**63 - 1, 1, -1, -(2**63)], pa.timestamp("ns"))
    int96 = {"use_deprecated_int96_timestamps": True}
    assert part_texts(tmp_path, far, **int96) == texts
    assert part_texts(tmp_path, near, **int96) == near.cast(pa.string()).to_pylist()


def test_int96_timestamps_in_lists_are_exact_to_the_microsecond(tmp_path: Path) -> None:
    texts = ["9999-12-31 23:59:59.999999", "1000-01-01 00:00:00.000000"]
    lists = pa.array([texts]).cast(pa.list_(pa.timestamp("us")))
    assert part_texts(tmp_path, lists, use_deprecated_int96_timestamps=True) == [json.dumps(texts)]


BEYOND = 2_534_023_008_000_000_000  # microseconds from 1970 to a year of five digits


@pytest.mark.parametrize(
    "far",
    [
        pa.array([BEYOND, 0], pa.timestamp("us")),
        pa.array([[BEYOND], [0]], pa.list_(pa.timestamp("us", "UTC"))),
        pa.array([{"at": BEYOND}, {"at": 0}], pa.struct([("at", pa.timestamp("us"))])),
        pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32()),
    ],
    ids=["timestamp", "list", "struct", "date"],
)
def test_a_date_beyond_the_calendar_is_a_malformed_row_and_the_rest_is_read(read: Read, far: pa.Array) -> None:
    rows = read(parquet({"part": ["a", "b"], "holes": far}), format="parquet")
    [(place, kept)] = malformed(rows).items()
    assert (place, json.loads(kept)["part"]) == (1, "a")
    assert "value out of range" in json.loads(kept)["holes"]
    assert [row["part"] for row in rows] == [None, "b"]


def test_a_text_that_is_not_utf_8_or_holds_a_nul_is_a_malformed_row(read: Read) -> None:
    binary = pa.array([b"caf\xe9", b"a\0b", b"ok"])
    damaged = pa.Array.from_buffers(pa.string(), 3, binary.buffers())
    rows = read(parquet({"part": damaged, "holes": [1, 2, 3]}), format="parquet")
    assert {place: json.loads(line)["part"] for place, line in malformed(rows).items()} == {1: "caf\\xe9", 2: "a\0b"}
    assert [row["part"] for row in rows] == [None, None, "ok"]
