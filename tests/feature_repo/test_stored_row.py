"""Rows of an online store: made by columns and one by one they are the same bytes, and every value comes back."""

from __future__ import annotations

import itertools
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from feature_repo.feast_api import EntityKey, Value, serialize_entity_key
from feature_repo.online_store import Rows
from feature_repo.redis_rows import RedisRows
from feature_repo.sqlite_rows import KEYS_PER_QUERY, SqliteRows
from feature_repo.stored_row import EncodedRows, Layout, instant_of, microseconds
from tests.servers import redis

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
INTEGERS = {"int": st.integers(-(2**31), 2**31 - 1), "bigint": st.integers(-(2**63), 2**63 - 1)}
VALUES = {
    "string": TEXTS, **INTEGERS, "float": st.floats(width=32), "double": st.floats(), "boolean": st.booleans(),
}  # fmt: skip
LAYOUT = Layout("toys.stock", {"shop": "string", "aisle": "int", "code": "bigint"}, {kind: kind for kind in VALUES})
INSTANTS = st.datetimes(timezones=st.just(UTC))
ROWS = st.lists(
    st.fixed_dictionaries(
        {"shop": TEXTS, "aisle": INTEGERS["int"], "code": INTEGERS["bigint"], "event_timestamp": INSTANTS}
        | {kind: st.none() | values for kind, values in VALUES.items()}
    ),
    min_size=1,
    max_size=20,
)
MEMBERS = {"shop": "string_val", "aisle": "int32_val", "code": "int64_val"}


def encoded(rows: list[dict[str, Any]]) -> EncodedRows:
    columns = {name: [row[name] for row in rows] for name in LAYOUT.schema.names}
    # From Python's numbers, PyArrow makes 32-bit floats only of those that it calls safe; NumPy of all.
    columns["float"] = pa.array(
        np.array([0 if row["float"] is None else row["float"] for row in rows], np.float32),
        mask=np.array([row["float"] is None for row in rows]),
    )
    parts = list(LAYOUT.encode(pa.RecordBatch.from_pydict(columns, schema=LAYOUT.schema)))
    return EncodedRows(
        *(list(itertools.chain(*(getattr(p, n) for p in parts))) for n in ("keys", "instants", "values"))
    )


@given(ROWS)
def test_rows_made_by_columns_and_one_by_one_are_the_same_and_hold_every_value(rows: list[dict[str, Any]]) -> None:
    made = encoded(rows)
    for row, key, instant, values in zip(rows, made.keys, made.instants, made.values, strict=True):
        entity = EntityKey(join_keys=MEMBERS, entity_values=[Value(**{m: row[name]}) for name, m in MEMBERS.items()])
        assert key == LAYOUT.key(row) == serialize_entity_key(entity, 3)
        assert (instant_of(instant), instant) == (row["event_timestamp"], microseconds(row["event_timestamp"]))
        assert values == LAYOUT.values([row[kind] for kind in VALUES])
        for kind, held in zip(VALUES, LAYOUT.decode(values), strict=True):
            expected = None if row[kind] is None or row[kind] != row[kind] else row[kind]
            assert repr(held) == repr(expected)  # which differs between 1 and 1.0, and 0.0 and -0.0


def test_a_row_without_a_key_is_left_out_and_an_entity_beyond_a_keys_type_has_none() -> None:
    row = {"shop": "a", "aisle": 1, "code": 2, "event_timestamp": instant_of(5)} | dict.fromkeys(VALUES)
    rows = [row, *(row | {key: None} for key in LAYOUT.keys), row | {"aisle": 3}]
    batch = pa.RecordBatch.from_pylist(rows, schema=LAYOUT.schema)
    [made] = LAYOUT.encode(batch)
    assert made.keys == [LAYOUT.key(row), LAYOUT.key(row | {"aisle": 3})]
    for beyond in ({"aisle": 2**31}, {"aisle": -(2**31) - 1}, {"code": 2**63}, {"shop": None}):
        assert LAYOUT.key(row | beyond) is None


@pytest.mark.parametrize("wrong", [["text", 1.5, 1, 0.0, 0.0, True], ["text", 2**31, 1, 0.0, 0.0, True]])
def test_a_value_that_its_type_does_not_hold_is_refused(wrong: list[Any]) -> None:
    with pytest.raises((ValueError, OverflowError, TypeError, struct.error)):
        LAYOUT.values(wrong)


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        rows = SqliteRows(tmp_path / "online.db")
        rows.create(["one", "other"])
        yield rows
        rows.close()
    else:
        with redis.running(tmp_path) as server:
            yield RedisRows(Redis.from_url(server.url), "goldpath_toys")


def test_a_later_row_stays_and_of_equal_instants_the_last_written(store: Rows) -> None:
    for instant, values in ((5, b"first"), (4, b"earlier"), (5, b"again"), (5, b"last")):
        store.write("one", EncodedRows([b"key"], [instant], [values]))
    store.write("other", EncodedRows([b"key", b"key", b"key"], [7, 9, 8], [b"a", b"b", b"c"]))
    asked = [("other", b"key"), ("one", b"key"), ("one", b"none")]
    assert store.read(asked) == [(9, b"b"), (5, b"last"), None]
    store.drop(["one"])
    store.create(["one"])
    assert store.read(asked) == [(9, b"b"), None, None]


def test_more_entities_than_one_query_takes_are_read_in_the_order_in_which_they_are_asked(store: Rows) -> None:
    keys = [b"%d" % number for number in range(2 * KEYS_PER_QUERY + 7)]
    store.write("one", EncodedRows(keys, list(range(len(keys))), keys), first=True)
    asked = [(view, key) for key in reversed(keys) for view in ("one", "other")] + [("one", keys[0])] * 2
    expected = [(keys.index(key), key) if view == "one" else None for view, key in asked]
    assert store.read(asked) == expected


def test_who_reads_a_file_does_not_wait_for_who_writes_it(tmp_path: Path) -> None:
    one, other = (SqliteRows(tmp_path / "online.db") for _ in range(2))
    one.create(["one"])
    one.write("one", EncodedRows([b"key"], [1], [b"before"]))
    with one._transaction() as connection:
        connection.execute('UPDATE "one" SET feature_values = ?', (b"during",))
        assert other.read([("one", b"key")]) == [(1, b"before")]
    assert other.read([("one", b"key")]) == [(1, b"during")]
    one.close()
    other.close()


def test_an_instant_keeps_its_microseconds() -> None:
    instant = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(microseconds=1)
    assert instant_of(microseconds(instant)) == instant
