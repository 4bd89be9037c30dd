"""What a table's log says of columns in which no row has a value."""

from __future__ import annotations

import json

import pyarrow as pa

from pipelines.lakehouse import delta_commits
from pipelines.lakehouse.arrow_stage import Part
from pipelines.lakehouse.base import Lakehouse
from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.lakehouse.staging import Append, Overwrite
from pipelines.tables import PARTITION, RESCUED, TableId

TABLE = TableId("bronze", "toys", "blocks")
SCHEMA = pa.schema([("id", pa.string()), (RESCUED, pa.string()), (PARTITION, pa.string())])


def commit(house: Lakehouse, batch: int, **kept: list[str | None]) -> None:
    """Commits rows, for each day what they have in `_rescued`."""
    parts = []
    for day, values in kept.items():
        rows = [{"id": "a", RESCUED: value, PARTITION: day} for value in values]
        parts.append(Part(day, [pa.RecordBatch.from_pylist(rows, schema=SCHEMA)]))
    staged = house.stage_arrow(TABLE, parts, schema=SCHEMA)
    house.commit(TABLE, staged, Append("ingest", batch), metadata={})


def test_the_log_says_of_each_day_whether_its_rows_lack_a_value(house: Lakehouse) -> None:
    commit(house, 0, d1=[None, None], d2=[None])
    assert house.snapshot(TABLE).lacks(RESCUED)
    assert not house.snapshot(TABLE).lacks("id")
    commit(house, 1, d2=[None, "{}"], d3=[None])
    snapshot = house.snapshot(TABLE)
    assert not snapshot.lacks(RESCUED)
    assert [snapshot.lacks(RESCUED, parts=days) for days in (["d1", "d3"], ["d1", "d2"], ["d4"])] == [True, False, True]
    delta_commits.compact(house, TABLE, target_bytes=1 << 20, cluster=(), metadata={})
    snapshot = house.snapshot(TABLE)
    assert [snapshot.lacks(RESCUED, parts=[day]) for day in ("d1", "d2", "d3")] == [True, False, True]


def test_a_column_that_was_not_counted_may_have_values(embedded: EmbeddedLakehouse) -> None:
    house = embedded
    rows = house.session.createDataFrame([("a", None, "d1")], f"id string, {RESCUED} string, {PARTITION} string")
    house.commit(TABLE, house.stage(TABLE, rows, partition_by=[PARTITION]), Overwrite(), metadata={})
    assert not house.snapshot(TABLE).lacks(RESCUED)
    commit(house, 0, d2=[None])
    assert [house.snapshot(TABLE).lacks(RESCUED, parts=[day]) for day in ("d1", "d2")] == [False, True]


def test_a_column_of_files_without_statistics_may_have_values(embedded: EmbeddedLakehouse) -> None:
    commit(embedded, 0, d1=[None])
    [entry] = (embedded.path(TABLE) / "_delta_log").glob("*1.json")
    actions = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines()]
    for action in actions:
        action.get("add", {}).pop("stats", None)
    entry.write_text("\n".join(map(json.dumps, actions)), encoding="utf-8")
    assert not embedded.snapshot(TABLE).lacks(RESCUED)
