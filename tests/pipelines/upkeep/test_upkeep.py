"""Upkeep merges files and removes old rows and files; readers and writers of the tables are not disturbed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from assets.platform import upkeep as steps
from pipelines import clock
from pipelines.contracts.model import Contract
from pipelines.cost.focus import COSTS
from pipelines.engine.session import Engine
from pipelines.errors import ContractError
from pipelines.governed.platform import Platform
from pipelines.lakehouse import delta_commits, time_travel
from pipelines.lakehouse.delta_commits import PROPERTIES
from pipelines.lakehouse.staging import Append, Overwrite
from pipelines.provenance.pins import Pins
from pipelines.settings import PROJECT
from pipelines.tables import INGESTED_AT, PARTITION, TableVersion
from pipelines.upkeep import maintenance
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import number, text
from tests.pipelines.toy_tables import BRONZE, QUARANTINE, SCHEMA, SILVER, append, block, parts, platform_on, write

METADATA = {"run_id": "the upkeep run", "asset": "ops/platform/compaction"}
NO_TIME = timedelta(0)
TEN_PARTS = [f"part {count}" for count in range(10)]


def contract(folder: Path, zone: str = "silver", **more: object) -> Contract:
    """A contract of the blocks table in a zone."""
    return toy_contracts.contract(folder, f"{zone}/toys/blocks", [text("part"), number("weight")], **more)  # type: ignore[arg-type]


@pytest.fixture
def platform(engine: Engine, tmp_path: Path) -> Platform:
    """A platform with contracts for bronze and silver; retention is one year."""
    return platform_on(engine, tmp_path / "home", contract(tmp_path, "bronze"), contract(tmp_path))


def files_on_disk(platform: Platform, at: TableVersion) -> set[str]:
    """The names of the data files in the table's folder."""
    folder = platform.lakehouse.path(at.table)
    return {path.name for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts}


def test_many_small_files_are_merged_into_one_for_each_partition_and_the_rows_stay(platform: Platform) -> None:
    append(platform, BRONZE, *TEN_PARTS)
    before = append(platform, BRONZE, "other", day="2013-01-02")
    [result] = maintenance.compact(platform, commit_metadata=METADATA)
    assert (result.name, result.files_before, result.files_after, result.rows_deleted) == (str(BRONZE), 11, 2, 0)
    assert (
        parts(platform, platform.lakehouse.current(BRONZE)) == parts(platform, before) == sorted([*TEN_PARTS, "other"])
    )
    newest = time_travel.commits(platform.lakehouse, BRONZE)[0]
    assert (newest.operation, newest.run_id, newest.asset) == ("OPTIMIZE", METADATA["run_id"], METADATA["asset"])
    assert maintenance.compact(platform, commit_metadata=METADATA) == []


def test_a_compacted_table_takes_appends_and_overwrites(platform: Platform) -> None:
    append(platform, BRONZE, *TEN_PARTS)
    maintenance.compact(platform, commit_metadata=METADATA)
    assert platform.lakehouse.batch(BRONZE, "test") == 9
    append(platform, BRONZE, "more", day="2013-01-02")
    replaced = write(platform, BRONZE, [block("new")], Overwrite(("2013-01-01",)))
    assert parts(platform, replaced) == ["more", "new"]


@pytest.mark.parametrize("value", ["2013-01-01T10:00", "a b", "50%", "x/y", "größe", "'q'", "+1"])
def test_a_partition_with_special_characters_is_compacted_and_can_be_replaced(platform: Platform, value: str) -> None:
    append(platform, BRONZE, *TEN_PARTS, day=value)
    results = maintenance.compact(platform, commit_metadata=METADATA)
    assert [(result.files_before, result.files_after) for result in results] == (
        [(10, 1)] if value.isascii() or platform.settings.engine == "embedded" else []
    )
    maintenance.vacuum(platform, Pins(), commit_metadata=METADATA, keep=NO_TIME)
    assert parts(platform, platform.lakehouse.current(BRONZE)) == sorted(TEN_PARTS)
    assert parts(platform, write(platform, BRONZE, [block("new", day=value)], Overwrite((value,)))) == ["new"]


def test_a_table_with_few_files_is_not_compacted(platform: Platform) -> None:
    before = append(platform, BRONZE, *TEN_PARTS[: maintenance.SPARED_FILES])
    assert maintenance.compact(platform, commit_metadata=METADATA) == []
    assert platform.lakehouse.current(BRONZE) == before


def test_compaction_orders_rows_by_the_cluster_columns(each_engine: Engine, tmp_path: Path) -> None:
    platform = platform_on(each_engine, tmp_path / "home", contract(tmp_path, cluster=["weight"]))
    for count in range(10):
        write(platform, SILVER, [block("x", (7.0 * count) % 10)], Append("test", count), by=())
    [result] = maintenance.compact(platform, commit_metadata=METADATA)
    assert (result.files_after, result.words) == (1, "ordered by weight")
    weights = platform.lakehouse.snapshot(SILVER).arrow()["weight"].to_pylist()
    assert weights == sorted(weights) == [float(weight) for weight in range(10)]
    assert platform.lakehouse.read(platform.lakehouse.current(SILVER)).count() == 10


def test_a_cluster_column_that_the_contract_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"cluster.*'height'.*one of the columns part, weight"):
        contract(tmp_path, cluster=["weight", "height"])


def test_no_cost_row_is_lost_while_the_cost_table_is_compacted(platform: Platform) -> None:
    def record(count: int = 40) -> None:
        for name in range(count):
            platform.lakehouse.record(COSTS, pa.table({"part": [str(name)]}))

    record(maintenance.SPARED_FILES + 1)
    recorder = threading.Thread(target=record)
    recorder.start()
    compacted = 0
    while recorder.is_alive():
        compacted += len(maintenance.compact(platform, commit_metadata=METADATA))
        assert maintenance.vacuum(platform, Pins(), commit_metadata=METADATA) == []
    recorder.join()
    assert compacted
    recorded = platform.lakehouse.snapshot(COSTS).arrow()["part"].to_pylist()
    assert sorted(recorded) == sorted(map(str, [*range(maintenance.SPARED_FILES + 1), *range(40)]))


def test_days_past_the_retention_are_deleted_from_bronze_and_silver(platform: Platform) -> None:
    for table in (BRONZE, SILVER):
        append(platform, table, "old", day="2012-06-30")
        append(platform, table, "on the day", day="2012-07-01")
        append(platform, table, "new", day="2013-06-30")
    clock.move(
        platform.settings, datetime(2013, 7, 1, 18, tzinfo=UTC)
    )  # a year of 365.25 days after noon of 2012-07-01
    results = maintenance.retain(platform, commit_metadata=METADATA)
    assert [(r.name, r.files_before, r.files_after, r.rows_deleted) for r in results] == [
        (str(BRONZE), 3, 2, 1), (str(SILVER), 3, 2, 1),
    ]  # fmt: skip
    for table in (BRONZE, SILVER):
        at = platform.lakehouse.current(table)
        assert parts(platform, at) == ["new", "on the day"]
        assert parts(platform, TableVersion(table, at.version - 1)) == ["new", "old", "on the day"]
    assert maintenance.retain(platform, commit_metadata=METADATA) == []


@pytest.mark.parametrize("name", ["19-11-2026", "1763510400", "11-19", "0", "latest"])
def test_rows_of_a_partition_that_is_no_interval_are_never_deleted(platform: Platform, name: str) -> None:
    append(platform, BRONZE, "landed today", day=name)
    append(platform, BRONZE, "old", day="2012-06-30T235959Z")
    clock.move(platform.settings, datetime(2013, 7, 1, 18, tzinfo=UTC))
    [result] = maintenance.retain(platform, commit_metadata=METADATA)
    assert (result.rows_deleted, parts(platform, platform.lakehouse.current(BRONZE))) == (1, ["landed today"])


def test_the_newest_snapshot_stays_although_it_is_past_the_retention(each_engine: Engine, tmp_path: Path) -> None:
    platform = platform_on(each_engine, tmp_path / "home", contract(tmp_path, "bronze", delivery="snapshot"))
    append(platform, BRONZE, "older", day="2009-01-01")
    append(platform, BRONZE, "newest", day="2010-01-01")
    [result] = maintenance.retain(platform, commit_metadata=METADATA)
    assert (result.rows_deleted, parts(platform, platform.lakehouse.current(BRONZE))) == (1, ["newest"])
    assert maintenance.retain(platform, commit_metadata=METADATA) == []


def test_a_quarantine_without_days_loses_the_rows_whose_ingestion_is_past_the_retention(platform: Platform) -> None:
    schema = pa.schema([("part", pa.string()), (INGESTED_AT, pa.timestamp("us", "UTC"))])
    now = datetime.now(UTC)
    rows = [{"part": "old", INGESTED_AT: now - timedelta(days=366)}, {"part": "new", INGESTED_AT: now}]
    write(platform, QUARANTINE, [*rows, {"part": "unknown", INGESTED_AT: None}], by=(), schema=schema)
    [result] = maintenance.retain(platform, commit_metadata=METADATA)
    assert result.rows_deleted == 1
    assert parts(platform, platform.lakehouse.current(QUARANTINE)) == ["new", "unknown"]


def test_tables_without_retention_lose_no_rows(platform: Platform) -> None:
    platform.lakehouse.record(COSTS, pa.table({"part": ["x"], PARTITION: ["1999-01-01"]}))
    write(platform, SILVER, [block("follows bronze", day="1999-01-01")], by=())
    assert maintenance.retain(platform, commit_metadata=METADATA) == []


def test_vacuum_keeps_the_newest_and_the_pinned_version_and_removes_all_other_files(platform: Platform) -> None:
    pinned = write(platform, SILVER, [block("pinned")])
    lost = write(platform, SILVER, [block("lost"), block("lost too", day="2013-01-02")])
    write(platform, SILVER, [block("newest")])
    unused = platform.lakehouse.path(SILVER) / f"{PARTITION}=2013-01-01" / "unused.parquet"
    unused.write_bytes(b"of a killed run")
    pins = Pins({pinned: frozenset({"toys.model@1"})})
    [result] = maintenance.vacuum(platform, pins, commit_metadata=METADATA, keep=NO_TIME)
    assert (result.files_before, result.files_after, result.words) == (5, 2, f"kept for models: {pinned.version}")
    assert result.bytes_freed > len("of a killed run")
    assert not unused.exists()
    assert parts(platform, pinned) == ["pinned"]
    assert parts(platform, platform.lakehouse.current(SILVER)) == ["newest"]
    assert len(platform.lakehouse.snapshot(lost).missing_files()) == 2
    assert maintenance.vacuum(platform, pins, commit_metadata=METADATA, keep=NO_TIME) == []


def test_vacuum_keeps_files_that_were_replaced_or_staged_recently(platform: Platform) -> None:
    before = write(platform, SILVER, [block("before")])
    write(platform, SILVER, [block("newest")])
    (platform.lakehouse.path(SILVER) / "staged by a writer.parquet").write_bytes(b"x")
    assert maintenance.vacuum(platform, Pins(), commit_metadata=METADATA) == []
    assert parts(platform, before) == ["before"]


def test_every_table_has_the_log_properties_whichever_writer_made_it(platform: Platform) -> None:
    house = platform.lakehouse
    append(platform, BRONZE, "a")
    write(platform, SILVER, [block("a")], by=())
    write(platform, SILVER, [{"part": "b"}], by=(), schema=pa.schema([("part", pa.string())]))
    for table in (BRONZE, SILVER):
        delta_commits.newest_version(house, table)
        at = house.current(table)
        assert dict(house.snapshot(table).delta.metadata().configuration) == PROPERTIES
        delta_commits.newest_version(house, table)
        assert house.current(table) == at
    assert parts(platform, house.current(SILVER)) == ["b"]
    assert dict(house.snapshot(TableVersion(BRONZE, 0)).delta.metadata().configuration) == PROPERTIES


def test_compaction_waits_for_a_writer_and_loses_none_of_its_rows(platform: Platform) -> None:
    append(platform, BRONZE, *TEN_PARTS)
    results: list[maintenance.UpkeepResult] = []
    keeper = threading.Thread(target=lambda: results.extend(maintenance.compact(platform, commit_metadata=METADATA)))
    house = platform.lakehouse
    frame = house.session.createDataFrame(pa.Table.from_pylist([block("late")], schema=SCHEMA))
    with house.writing(BRONZE):
        staged = house.stage(BRONZE, frame, partition_by=(PARTITION,))
        keeper.start()
        keeper.join(timeout=0.5)
        assert keeper.is_alive()
        house.commit(BRONZE, staged, Append("test", 10), metadata={})
    keeper.join()
    assert [result.files_before for result in results] == [11]
    assert parts(platform, house.current(BRONZE)) == sorted([*TEN_PARTS, "late"])


#: A program that compacts every table of a home folder, its first argument.
COMPACTION_PROGRAM = """
import sys
from pathlib import Path
from pipelines.settings import Settings
from pipelines.upkeep import maintenance
from pipelines.governed.platform import Platform
maintenance.compact(Platform(Settings(home=Path(sys.argv[1]), profile="test"), dict), commit_metadata={})
"""


def test_a_table_reads_as_before_after_a_killed_compaction_and_vacuum_removes_its_files(platform: Platform) -> None:
    days = [block(f"day {day}", day=f"{day:04d}-01-01") for day in range(400)]
    for _ in range(2):
        platform.lakehouse.create(BRONZE, SCHEMA, partition_by=[PARTITION])
        platform.lakehouse.record(BRONZE, pa.Table.from_pylist(days, schema=SCHEMA))
    before = platform.lakehouse.current(BRONZE)
    committed = files_on_disk(platform, before)
    command = [sys.executable, "-c", COMPACTION_PROGRAM, str(platform.settings.root)]
    with subprocess.Popen(command, cwd=PROJECT) as process:
        while process.poll() is None and files_on_disk(platform, before) == committed:
            pass
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert files_on_disk(platform, before) > committed
    assert platform.lakehouse.current(BRONZE) == before
    assert parts(platform, before) == sorted(2 * [row["part"] for row in days])
    [result] = maintenance.vacuum(platform, Pins(), commit_metadata=METADATA, keep=NO_TIME)
    assert result.files_after == len(committed) == 800
    [result] = maintenance.compact(platform, commit_metadata=METADATA)
    assert (result.files_before, result.files_after) == (800, 400)
    assert parts(platform, platform.lakehouse.current(BRONZE)) == sorted(2 * [row["part"] for row in days])


def test_each_step_is_an_asset_that_shows_its_figures(platform: Platform, materialize: Materialize) -> None:
    append(platform, BRONZE, *TEN_PARTS)
    append(platform, BRONZE, "old", day="2000-01-01")
    clock.move(platform.settings, datetime(2013, 1, 2, tzinfo=UTC))
    assets = [steps.retention, steps.compaction, steps.vacuum, steps.pruning_of_records]
    result = materialize(platform, assets)
    events = result.get_asset_materialization_events()
    assert [event.asset_key for event in events] == [asset.key for asset in assets]
    figures = {event.materialization.asset_key.path[-1]: event.materialization.metadata for event in events}
    assert (figures["retention"]["rows_deleted"].value, figures["compaction"]["files_before"].value) == (1, 10)
    shown = figures["compaction"]["figures"]
    assert isinstance(shown, dg.TableMetadataValue)
    [record] = shown.records
    assert record.data == {
        "name": str(BRONZE), "files_before": 10, "files_after": 1, "rows_deleted": 0, "words": "merged",
        "bytes_freed": figures["compaction"]["bytes_freed"].value,
    }  # fmt: skip
    assert figures["vacuum"]["figures"].value == "nothing to do"
    runs = {commit.run_id for commit in time_travel.commits(platform.lakehouse, BRONZE)[:2]}
    assert runs == {result.run_id}
    assert parts(platform, platform.lakehouse.current(BRONZE)) == sorted(TEN_PARTS)
