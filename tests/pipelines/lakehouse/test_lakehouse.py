"""Staging and commits have the same results on both engines, and each engine reads what the other wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError, NotFoundError
from pipelines.lakehouse.base import Lakehouse
from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.lakehouse.spark import SparkLakehouse
from pipelines.lakehouse.staging import Append, Overwrite, Replace, Write
from pipelines.settings import PROJECT
from pipelines.tables import PARTITION, TableVersion
from tests.pipelines.lakehouse.blocks import (
    EDGES,
    QUARANTINE,
    SCHEMA,
    TABLE,
    contents,
    expected,
    ids,
    publish,
    read,
    row,
    stage,
)


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
