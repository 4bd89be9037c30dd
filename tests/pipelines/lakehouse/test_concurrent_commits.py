"""Concurrent commits of writers that share no lock, as on several machines: the slower one gets a CommitConflict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.engine.session import Engine
from pipelines.errors import CommitConflict
from pipelines.lakehouse.arrow_stage import Part
from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.lakehouse.staging import Append, Merge, Overwrite, Replace, Staged
from pipelines.tables import PARTITION, TableId

TABLE = TableId("silver", "toys", "blocks")
SCHEMA = pa.schema([("part", pa.string()), ("holes", pa.int64()), (PARTITION, pa.string())])
WRITERS = 3


def no_engine() -> Engine:
    raise AssertionError("these writers stage only Arrow batches")


@pytest.fixture
def houses(tmp_path: Path) -> list[EmbeddedLakehouse]:
    """One lakehouse as several machines have it, each with its own locks."""
    root = str(tmp_path / "lakehouse")
    return [EmbeddedLakehouse(root=root, engine=no_engine, locks=tmp_path / f"locks_{n}") for n in range(WRITERS)]


def staged(house: EmbeddedLakehouse, rows: Sequence[tuple[str, int]], day: str = "2013-01-01") -> Staged:
    table = pa.table({"part": [r[0] for r in rows], "holes": [r[1] for r in rows], PARTITION: [day] * len(rows)})
    part = Part(day, table.cast(SCHEMA).to_batches(), lambda error: None)
    return house.stage_arrow(TABLE, [part], schema=SCHEMA)


def rows_of(house: EmbeddedLakehouse) -> list[tuple[str, int]]:
    return sorted((row["part"], row["holes"]) for row in house.snapshot(TABLE).arrow().to_pylist())


def work_at_once(houses: list[EmbeddedLakehouse], work: Callable[[int, EmbeddedLakehouse], None]) -> int:
    """Runs the work on all lakehouses at the same time, each until it has no conflict; returns the conflicts' number."""
    conflicts = []
    barrier = threading.Barrier(len(houses))

    def work_until_committed(number: int) -> None:
        barrier.wait()
        while True:
            try:
                return work(number, houses[number])
            except CommitConflict as conflict:
                conflicts.append(conflict)

    with ThreadPoolExecutor(len(houses)) as pool:
        list(pool.map(work_until_committed, range(len(houses))))
    return len(conflicts)


def test_a_batch_that_several_writers_append_is_in_the_table_once(houses: list[EmbeddedLakehouse]) -> None:
    conflicts = 0
    for batch in range(12):

        def append(number: int, house: EmbeddedLakehouse, batch: int = batch) -> None:
            house.commit(TABLE, staged(house, [(f"part {batch}", batch)]), Append("ingest", batch), metadata={})

        conflicts += work_at_once(houses, append)
    assert rows_of(houses[0]) == sorted((f"part {batch}", batch) for batch in range(12))
    assert houses[0].batch(TABLE, "ingest") == 11
    assert conflicts > 0


@pytest.mark.parametrize("partitions", [("2013-01-01",), None], ids=["a day", "the whole table"])
def test_concurrent_replacements_leave_the_rows_of_exactly_one(
    houses: list[EmbeddedLakehouse], tmp_path: Path, partitions: tuple[str, ...] | None
) -> None:
    """The tables have no rows yet: no commit removes a file that another one removed, so only COMMIT_APP conflicts."""
    conflicts = 0
    for attempt in range(8):
        table = TableId("silver", "toys", f"blocks_{attempt}")

        def replace(number: int, house: EmbeddedLakehouse, table: TableId = table) -> None:
            rows = staged(house, [(f"a {number}", 1), (f"b {number}", 1)])
            house.commit(table, rows, Overwrite(partitions), metadata={})

        conflicts += work_at_once(houses, replace)
        parts = houses[0].snapshot(table).arrow()["part"].to_pylist()
        assert sorted(parts) in [[f"a {number}", f"b {number}"] for number in range(WRITERS)]
    assert conflicts > 0


def test_a_batch_that_several_writers_merge_is_in_the_table_once(houses: list[EmbeddedLakehouse]) -> None:
    conflicts = 0
    for batch in range(6):

        def merge(number: int, house: EmbeddedLakehouse, batch: int = batch) -> None:
            rows = [("brick", batch), (f"part {batch}", batch)]
            clean = staged(house, rows).where(PARTITION, "2013-01-01").select(["part", "holes"])
            write = Merge("old.part = new.part", "true", ("part",), (), "merged", batch)
            house.commit(TABLE, clean, write, metadata={})

        conflicts += work_at_once(houses, merge)
    assert rows_of(houses[0]) == sorted([("brick", 5), *((f"part {batch}", batch) for batch in range(6))])
    assert conflicts > 0


def test_a_batch_with_which_several_writers_replace_rows_is_in_the_table_once(houses: list[EmbeddedLakehouse]) -> None:
    rows = [("brick", -1), ("plate", -1)]
    houses[0].commit(TABLE, staged(houses[0], rows), Append("ingest", 0), metadata={})
    conflicts = 0
    for batch in range(1, 7):

        def replace(number: int, house: EmbeddedLakehouse, batch: int = batch) -> None:
            write = Replace("part", ("brick",), "ingest", batch)
            house.commit(TABLE, staged(house, [("brick", batch)]), write, metadata={})

        conflicts += work_at_once(houses, replace)
    assert rows_of(houses[0]) == [("brick", 6), ("plate", -1)]
    assert conflicts > 0
