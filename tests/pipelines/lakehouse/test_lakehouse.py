"""Staging and commits have the same results on both engines, and each engine reads what the other wrote."""

from __future__ import annotations

import fcntl
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError, LandingError, NotFoundError
from pipelines.lakehouse.arrow_stage import Part
from pipelines.lakehouse.base import Lakehouse
from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.lakehouse.spark import SparkLakehouse
from pipelines.lakehouse.staging import Append, Overwrite, Replace, Staged, Write
from pipelines.settings import PROJECT
from pipelines.tables import PARTITION, TableId, TableVersion

TABLE, QUARANTINE = TableId("silver", "toys", "blocks"), TableId("quarantine", "toys", "blocks")
REASON = pa.struct([("code", pa.string()), ("value", pa.string())])
SCHEMA = pa.schema(
    [("id", pa.string()), ("small", pa.int32()), ("big", pa.int64()), ("weight", pa.float64()), ("light", pa.float32()),
     ("good", pa.bool_()), ("made", pa.date32()), ("sold", pa.timestamp("us", "UTC")), ("reasons", pa.list_(REASON)),
     (PARTITION, pa.string())]
)  # fmt: skip
Row = dict[str, Any]


def row(name: str, day: str = "2013-01-01", **values: Any) -> Row:
    return dict.fromkeys(SCHEMA.names) | {"id": name, PARTITION: day} | values


#: Values at the edges of their types, and nulls.
EDGES = [
    row("brick", small=2**31 - 1, big=2**63 - 1, weight=1 / 3, light=0.25, good=True, made=date(2013, 3, 10),
        sold=datetime(2013, 3, 10, 7, 0, 0, 1, UTC), reasons=[{"code": "a", "value": None}, {"code": "b", "value": "1"}]),
    row("größe ✓ 'x' \\ \"y\"\n2", small=-(2**31), big=-(2**63), weight=5e-324, light=-0.0, good=False, made=date(1582, 10, 15),
        sold=datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), reasons=[]),
    row("", weight=math.inf, light=-math.inf, day="2013-01-02", made=date(9999, 12, 31), sold=datetime(2262, 4, 11, tzinfo=UTC)),
    row("nothing", day="2013-01-02"),
]  # fmt: skip


def contents(table: pa.Table) -> list[Row]:
    names = sorted(table.column_names)
    return sorted(table.select(names).to_pylist(), key=repr)


def expected(rows: Iterable[Row]) -> list[Row]:
    return sorted((dict(sorted(row.items())) for row in rows), key=repr)


def stage(
    house: Lakehouse,
    rows: list[Row],
    *,
    table: TableId = TABLE,
    by: tuple[str, ...] = (PARTITION,),
    schema: pa.Schema = SCHEMA,
) -> Staged:
    frame = house.session.createDataFrame(pa.Table.from_pylist(rows or [row("none")], schema=schema))
    frame = frame if rows else frame.limit(0)
    return house.stage(table, frame, partition_by=by)


def publish(house: Lakehouse, rows: list[Row], write: Write, **more: Any) -> TableVersion:
    return house.commit(TABLE, stage(house, rows, **more), write, metadata={"run_id": "r"})


def read(house: Lakehouse, at: TableVersion | None = None) -> list[Row]:
    return contents(house.read(at or house.current(TABLE)).toArrow())


def ids(rows: list[Row]) -> list[str]:
    return sorted(row["id"] for row in rows)


def test_staged_rows_are_not_visible_before_the_commit(house: Lakehouse) -> None:
    assert house.version(TABLE) is None
    with pytest.raises(NotFoundError, match="silver/toys/blocks.*materialize"):
        house.current(TABLE)
    staged = stage(house, EDGES)
    assert house.version(TABLE) is None
    assert contents(house.read_staged(staged).toArrow()) == expected(EDGES)
    at = house.commit(TABLE, staged, Overwrite(), metadata={})
    rows_before = house.snapshot(at).rows
    stage(house, [row("later")])
    assert (house.current(TABLE), house.snapshot(at).rows, rows_before) == (at, len(EDGES), len(EDGES))


def test_a_batch_that_was_appended_before_is_not_appended_again(house: Lakehouse) -> None:
    assert house.batch(TABLE, "ingest") == -1
    first = publish(house, [row("a")], Append("ingest", 0))
    assert publish(house, [row("a")], Append("ingest", 0)) == first
    second = publish(house, [row("b", "2013-01-02")], Append("ingest", 1))
    assert second.version == first.version + 1
    assert publish(house, [row("c")], Append("ingest", 0)) == second
    assert (ids(read(house)), ids(read(house, first))) == (["a", "b"], ["a"])
    assert house.batch(TABLE, "ingest") == 1
    empty = publish(house, [], Append("ingest", 2))
    assert (ids(read(house, empty)), house.batch(TABLE, "ingest")) == (["a", "b"], 2)


def test_an_overwrite_of_partitions_keeps_the_others(house: Lakehouse) -> None:
    days = [f"2013-01-0{day}" for day in range(1, 5)]
    first = publish(house, [row(f"{day} old", day) for day in days], Overwrite())
    second = publish(house, [row("new", days[1])], Overwrite((days[1], days[2])))
    assert ids(read(house)) == [f"{days[0]} old", f"{days[3]} old", "new"]
    assert set(house.snapshot(second).partition_rows(PARTITION)) == {days[0], days[1], days[3]}
    emptied = publish(house, [], Overwrite((days[1],)))
    assert ids(read(house)) == [f"{days[0]} old", f"{days[3]} old"]
    assert ids(read(house, first)) == [f"{day} old" for day in days]
    assert publish(house, [row("all")], Overwrite()).version > emptied.version
    assert ids(read(house)) == ["all"]
    publish(house, [], Overwrite())
    assert read(house) == []


def test_rows_that_are_replaced_by_a_text_are_replaced_in_one_commit_and_once(house: Lakehouse) -> None:
    """The texts can be any, as names of files are; the replaced rows share days, and so files, with others."""
    odd = 'it\'s \\ "größe" %20=.csv'
    publish(house, [row("a"), row(odd), row("b", "2013-01-02")], Append("ingest", 0))
    first = publish(house, [row(odd, "2013-01-02")], Append("ingest", 1))
    write = Replace("id", (odd, "absent"), "ingest", 2)
    second = publish(house, [row(odd, "2013-01-03", small=1), row(odd, small=2)], write)
    assert second.version == first.version + 1
    assert read(house) == expected(
        [row("a"), row("b", "2013-01-02"), row(odd, "2013-01-03", small=1), row(odd, small=2)]
    )
    assert publish(house, [row(odd, small=3)], write) == second
    assert (ids(read(house, first)), house.batch(TABLE, "ingest")) == (sorted(["a", "b", odd, odd]), 2)
    emptied = publish(house, [], Replace("id", (odd,), "ingest", 3))
    assert (emptied.version, ids(read(house)), house.batch(TABLE, "ingest")) == (second.version + 1, ["a", "b"], 3)


def test_clean_and_quarantined_rows_staged_together_are_committed_to_two_tables(house: Lakehouse) -> None:
    schema = SCHEMA.append(pa.field("_verdict", pa.string()))
    rows = [row("a") | {"_verdict": "clean"}, row("b", "2013-01-02") | {"_verdict": "clean"}]
    rows += [row("c") | {"_verdict": "quarantine"}]
    staged = stage(house, rows, by=("_verdict", PARTITION), schema=schema)
    clean, rejected = staged.where("_verdict", "clean"), staged.where("_verdict", "quarantine")
    assert (staged.rows, clean.rows, rejected.rows) == (3, 2, 1)
    assert clean.bytes + rejected.bytes == staged.bytes
    assert [ids(house.read_staged(part).toArrow().to_pylist()) for part in (clean, rejected)] == [["a", "b"], ["c"]]
    quarantined = house.commit(QUARANTINE, rejected.select(["id", "small", PARTITION]), Overwrite(), metadata={})
    at = house.commit(TABLE, clean.select(["id", PARTITION]), Overwrite(), metadata={})
    assert house.read(at).columns == ["id", PARTITION]
    assert ids(read(house, at)) == ["a", "b"]
    assert read(house, quarantined) == [{PARTITION: "2013-01-01", "id": "c", "small": None}]
    nothing = staged.where("_verdict", "unheard of").select(["id", PARTITION])
    assert house.snapshot(house.commit(QUARANTINE, nothing, Overwrite(), metadata={})).rows == 0


def test_a_table_without_partitions_is_written_and_replaced(house: Lakehouse) -> None:
    at = publish(house, EDGES, Overwrite(), by=())
    assert read(house, at) == expected(EDGES)
    publish(house, [row("b")], Overwrite(), by=())
    assert ids(read(house)) == ["b"]
    assert house.snapshot(at).rows == len(EDGES)


def test_a_snapshot_reads_the_same_rows_as_the_engine(house: Lakehouse) -> None:
    at = publish(house, EDGES, Overwrite())
    assert contents(house.snapshot(at).arrow()) == read(house, at) == expected(EDGES)
    assert house.snapshot(at).arrow(columns=["id"]).column_names == ["id"]
    assert len(house.snapshot(at).files) == 2
    assert house.snapshot(at).bytes == sum(file.stat().st_size for file in house.snapshot(at).files)


@pytest.mark.spark
def test_each_engine_reads_and_extends_a_table_of_the_other(sail: Engine, spark: Engine, tmp_path: Path) -> None:
    root, locks = str(tmp_path / "tables"), tmp_path / "locks"
    sail_house: Lakehouse = EmbeddedLakehouse(root=root, engine=lambda: sail, locks=locks)
    spark_house: Lakehouse = SparkLakehouse(root=root, engine=lambda: spark, locks=locks)
    for writer, reader, first_batch in ((sail_house, spark_house, 0), (spark_house, sail_house, 10)):
        publish(writer, EDGES, Overwrite())
        assert read(reader) == read(writer) == expected(EDGES)
        publish(reader, [row("theirs")], Overwrite(("2013-01-01",)))
        assert read(writer) == read(reader) == expected([row("theirs"), *EDGES[2:]])
        publish(writer, [row("batch")], Append("ingest", first_batch))
        assert publish(reader, [row("batch")], Append("ingest", first_batch)) == writer.current(TABLE)
        publish(reader, [row("next")], Append("ingest", first_batch + 1))
        assert ids(read(writer)) == ids(read(reader)) == sorted(["theirs", "batch", "next", "", "nothing"])


def test_a_replaced_day_adds_new_columns_of_the_contract(house: Lakehouse) -> None:
    publish(house, [row("a"), row("b", "2013-01-02")], Overwrite())
    wider = pa.schema([*SCHEMA, ("colour", pa.string())])
    publish(house, [row("a", colour="red")], Overwrite(("2013-01-01",)), schema=wider)
    assert read(house) == expected([row("a", colour="red"), row("b", "2013-01-02", colour=None)])
    publish(house, [row("b", "2013-01-02", colour="blue")], Overwrite(("2013-01-02",)), schema=wider)
    assert read(house) == expected([row("a", colour="red"), row("b", "2013-01-02", colour="blue")])


def test_an_overwrite_of_the_whole_table_replaces_its_columns(embedded: EmbeddedLakehouse) -> None:
    publish(embedded, [row("a", small=1)], Overwrite(), by=())
    wider = pa.schema([SCHEMA.field("id"), ("colour", pa.string())])
    at = publish(embedded, [{"id": "b", "colour": "red"}], Overwrite(), by=(), schema=wider)
    assert embedded.read(at).columns == ["id", "colour"]
    assert read(embedded, at) == [{"colour": "red", "id": "b"}]
    assert read(embedded, TableVersion(TABLE, at.version - 1)) == expected([row("a", small=1)])


TEXTS = (
    "2013-01-01T10:00", "2013-1-1", "a b", "50%", "x/y", "größe", "a=b", "'quoted'", "back\\slash", "+1", "007", "1e3",
)  # fmt: skip


def test_a_partition_value_can_be_any_text(house: Lakehouse) -> None:
    publish(house, [row(f"row {text}", text) for text in TEXTS], Overwrite())
    assert set(house.snapshot(TABLE).partition_rows(PARTITION)) == set(TEXTS)
    assert {r["id"]: r[PARTITION] for r in read(house)} == {f"row {text}": text for text in TEXTS}
    publish(house, [row(f"new {text}", text) for text in TEXTS[1:]], Overwrite(TEXTS[1:]))
    assert {r["id"]: r[PARTITION] for r in read(house)} == {
        f"{'new' if text in TEXTS[1:] else 'row'} {text}": text for text in TEXTS
    }


def batches(rows: list[Row]) -> list[pa.RecordBatch]:
    return pa.Table.from_pylist(rows, schema=SCHEMA).to_batches(max_chunksize=2)


def test_arrow_batches_are_staged_in_one_file_for_each_day_with_rows(embedded: EmbeddedLakehouse) -> None:
    days = {"2013-01-01": EDGES[:2], "2013-01-02": EDGES[2:], "2013-01-03": []}
    parts = [Part(day, batches(rows)) for day, rows in days.items()]
    staged = embedded.stage_arrow(TABLE, parts, schema=SCHEMA)
    assert (staged.rows, len(staged.files), embedded.version(TABLE)) == (4, 2, None)
    at = embedded.commit(TABLE, staged, Append("ingest", 0), metadata={})
    assert read(embedded, at) == expected(EDGES)


def test_a_part_that_raises_a_landing_error_is_left_out_and_gets_the_error(embedded: EmbeddedLakehouse) -> None:
    error = LandingError(object="a file", observed="its end is missing", expected="a complete file", next_step="retry")
    errors: list[LandingError] = []

    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(EDGES[2:])
        raise error

    parts = [Part("2013-01-02", broken(), errors.append), Part("2013-01-01", batches(EDGES[:2]))]
    staged = embedded.stage_arrow(TABLE, parts, schema=SCHEMA)
    assert (staged.rows, errors) == (2, [error])
    at = embedded.commit(TABLE, staged, Append("ingest", 0), metadata={})
    assert read(embedded, at) == expected(EDGES[:2])


def test_a_large_part_is_written_in_its_order_while_it_is_read(
    embedded: EmbeddedLakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.lakehouse.arrow_stage.HELD_BYTES", 0)
    monkeypatch.setattr("pipelines.lakehouse.arrow_stage.ROW_GROUP_BYTES", 1)
    rows = [row(f"{n:03d}") for n in range(100)]
    large = Part("2013-01-01", (batch for one in rows for batch in batches([one])))
    staged = embedded.stage_arrow(TABLE, [large, Part("2013-01-02", batches(EDGES[2:]))], schema=SCHEMA)
    [first, _] = staged.files
    with pq.ParquetFile(first.path) as file:
        assert (file.num_row_groups, file.read(["id"])["id"].to_pylist()) == (100, [one["id"] for one in rows])
    at = embedded.commit(TABLE, staged, Append("ingest", 0), metadata={})
    assert read(embedded, at) == expected([*rows, *EDGES[2:]])


#: Writes row groups of random text, a thousand bytes each, where no file may be larger than a number of bytes.
WRITES_TOO_MUCH = """
import os, resource, sys
from pathlib import Path
import pyarrow as pa
from pipelines.lakehouse import arrow_stage
arrow_stage.HELD_BYTES, arrow_stage.ROW_GROUP_BYTES = 0, 1
texts = ({"id": os.urandom(500).hex(), "_partition": "2013-01-01"} for _ in range(50))
part = arrow_stage.Part("2013-01-01", (pa.RecordBatch.from_pylist([text]) for text in texts))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    arrow_stage.ArrowStage(Path(sys.argv[1])).write([part])
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 5_000, 20_000])
def test_an_error_of_the_thread_that_writes_is_raised_and_leaves_no_file(tmp_path: Path, limit: int) -> None:
    command = [sys.executable, "-c", WRITES_TOO_MUCH, str(tmp_path), str(limit)]
    ended = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=60)
    assert "File too large" in ended.stdout
    assert not [*tmp_path.rglob("*.parquet")]


def test_create_leaves_a_table_that_exists_as_it_is(embedded: EmbeddedLakehouse) -> None:
    embedded.create(TABLE, SCHEMA, partition_by=[PARTITION])
    assert (embedded.snapshot(TABLE).rows, read(embedded)) == (0, [])
    publish(embedded, [row("a")], Append("ingest", 0))
    embedded.create(TABLE, SCHEMA, partition_by=[PARTITION])
    assert ids(read(embedded)) == ["a"]


def test_a_record_with_a_new_column_adds_the_column(embedded: EmbeddedLakehouse) -> None:
    embedded.record(TABLE, pa.table({"run": ["1"], "cost": [0.5]}))
    at = embedded.record(TABLE, pa.table({"run": ["2"], "cost": [0.25], "region": ["north"]}))
    assert contents(embedded.snapshot(at).arrow()) == [
        {"cost": 0.25, "region": "north", "run": "2"}, {"cost": 0.5, "region": None, "run": "1"},
    ]  # fmt: skip


def test_a_commit_records_the_run_in_the_log(embedded: EmbeddedLakehouse) -> None:
    from deltalake import DeltaTable

    publish(embedded, [row("a")], Overwrite())
    assert DeltaTable(str(embedded.path(TABLE))).history(1)[0]["run_id"] == "r"


#: Locks the table, stages rows for it, prints their folder and waits to be killed before it commits.
KILLED = """
import sys, time
from pathlib import Path
import pyarrow as pa
from pipelines.lakehouse.arrow_stage import Part
from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.tables import PARTITION, TableId
house = EmbeddedLakehouse(root=sys.argv[1], engine=lambda: None, locks=Path(sys.argv[2]))
table, schema = TableId("silver", "toys", "blocks"), pa.schema([("id", pa.string()), (PARTITION, pa.string())])
with house.writing(table):
    batch = pa.RecordBatch.from_pylist([{"id": "a", PARTITION: "d"}], schema=schema)
    staged = house.stage_arrow(table, [Part("d", [batch], print)], schema=schema)
    print(staged.folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holding(embedded: EmbeddedLakehouse) -> Iterable[Callable[[], tuple[subprocess.Popen[str], Path]]]:
    """Starts another writer of the table; returns its process and its staging folder."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], Path]:
        command = [sys.executable, "-c", KILLED, str(embedded.root), str(embedded.locks)]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_removals() -> None:
    """Waits until this process has removed the staged files of the writers that have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("staged files"):
            thread.join()


def test_a_writer_locks_its_table_and_no_other(
    embedded: EmbeddedLakehouse, holding: Callable[[], tuple[subprocess.Popen[str], Path]]
) -> None:
    process, staged = holding()
    lock = embedded.locks / f"{TABLE.source_name}.lock"
    with lock.open("w") as handle, pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with embedded.writing(QUARANTINE):
        assert any(staged.rglob("*.parquet"))
    assert process.poll() is None


def test_staged_files_of_a_killed_writer_are_not_visible_and_are_removed_by_the_next(
    embedded: EmbeddedLakehouse, holding: Callable[[], tuple[subprocess.Popen[str], Path]]
) -> None:
    process, staged = holding()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(staged.rglob("*.parquet"))
    assert embedded.version(TABLE) is None
    with embedded.writing(TABLE):
        assert not staged.exists()
        publish(embedded, [row("a")], Overwrite())
    assert ids(read(embedded)) == ["a"]
    wait_for_removals()
    assert not list((embedded.root / "_staging").glob("*/*"))


@pytest.mark.parametrize(("before", "now"), [((), (PARTITION,)), ((PARTITION,), ())])
@pytest.mark.parametrize("write", [Append("app", 2), Overwrite(), Overwrite(("2013-01-01",))])
def test_a_table_whose_partitions_are_declared_otherwise_is_refused_with_the_way_on(
    embedded: EmbeddedLakehouse, before: tuple[str, ...], now: tuple[str, ...], write: Write
) -> None:
    first = publish(embedded, [row("a")], Append("app", 1), by=before)
    with pytest.raises(DefinitionError, match="its files lie") as refused:
        publish(embedded, [row("b")], write, by=now)
    assert str(embedded.path(TABLE)) in refused.value.next_step
    assert embedded.current(TABLE) == first


def test_staged_files_of_a_failing_writer_are_removed(embedded: EmbeddedLakehouse) -> None:
    with pytest.raises(ZeroDivisionError), embedded.writing(TABLE):  # noqa: PT012
        staged = stage(embedded, [row("a")])
        1 / 0  # noqa: B018
    wait_for_removals()
    assert not staged.folder.exists()
    assert embedded.version(TABLE) is None


FILES = """
import sys
from pathlib import Path
from pipelines.lakehouse.table_log import TableLog
files = TableLog(Path(sys.argv[1])).files(3)
assert "pandas" not in sys.modules
print(*(f"{size} {path}" for path, size in files.items()), sep="\\n")
"""


def test_the_files_after_a_checkpoint_are_those_that_are_there_and_are_read_without_pandas(tmp_path: Path) -> None:
    folder, rows = tmp_path / "table", pa.table({"day": ["a=b c", "Ω"], "x": [1, 2]})
    for _ in range(2):
        write_deltalake(folder, rows, mode="append", partition_by=["day"])
    table = DeltaTable(folder)
    table.delete("day = 'Ω'")
    table.create_checkpoint()
    write_deltalake(folder, rows.slice(1), mode="append")
    command = [sys.executable, "-c", FILES, str(folder)]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    DeltaTable(folder).vacuum(0, enforce_retention_duration=False, dry_run=False)
    there = {f"{path.stat().st_size} {path.relative_to(folder)}" for path in folder.rglob("day=*/*.parquet")}
    assert {*listed} == there
    assert len(listed) == len(there) == 3
