"""Tables are kept small and quick to read, and nobody who reads or writes them notices."""

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
from tests.pipelines import toys
from tests.pipelines.made_tables import BRONZE, QUARANTINE, SCHEMA, SILVER, append, block, parts, platform_on, write
from tests.pipelines.toys import number, text

TOLD = {"run_id": "the upkeep run", "asset": "ops/platform/compaction"}
NOW = timedelta(0)
TEN = [f"part {count}" for count in range(10)]


def contract(folder: Path, zone: str = "silver", **more: object) -> Contract:
    return toys.contract(folder, f"{zone}/toys/blocks", [text("part"), number("weight")], **more)  # type: ignore[arg-type]


@pytest.fixture
def platform(engine: Engine, tmp_path: Path) -> Platform:
    """Tables of toys, on both engines in turn; retention is one year."""
    return platform_on(engine, tmp_path / "home", contract(tmp_path, "bronze"), contract(tmp_path))


@pytest.fixture
def embedded(engine: Engine, tmp_path: Path) -> Platform:
    return platform_on(engine, tmp_path / "home", contract(tmp_path, "bronze"), contract(tmp_path))


def files_on_disk(platform: Platform, at: TableVersion) -> set[str]:
    folder = platform.lakehouse.path(at.table)
    return {path.name for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts}


def test_many_small_files_become_one_for_each_partition_and_the_rows_stay(platform: Platform) -> None:
    append(platform, BRONZE, *TEN)
    before = append(platform, BRONZE, "other", day="2013-01-02")
    [done] = maintenance.compact(platform, told=TOLD)
    assert (done.name, done.files_before, done.files_after, done.rows_deleted) == (str(BRONZE), 11, 2, 0)
    assert parts(platform, platform.lakehouse.current(BRONZE)) == parts(platform, before) == sorted([*TEN, "other"])
    newest = time_travel.commits(platform.lakehouse, BRONZE)[0]
    assert (newest.operation, newest.run_id, newest.asset) == ("OPTIMIZE", TOLD["run_id"], TOLD["asset"])
    assert maintenance.compact(platform, told=TOLD) == []


def test_writers_go_on_after_compaction_as_before_it(platform: Platform) -> None:
    append(platform, BRONZE, *TEN)
    maintenance.compact(platform, told=TOLD)
    assert platform.lakehouse.batch(BRONZE, "test") == 9
    append(platform, BRONZE, "more", day="2013-01-02")
    replaced = write(platform, BRONZE, [block("new")], Overwrite(("2013-01-01",)))
    assert parts(platform, replaced) == ["more", "new"]


@pytest.mark.parametrize("value", ["2013-01-01T10:00", "a b", "50%", "x/y", "größe", "'q'", "+1"])
def test_a_partition_of_any_text_is_compacted_and_then_replaced(embedded: Platform, value: str) -> None:
    append(embedded, BRONZE, *TEN, day=value)
    merged = [(done.files_before, done.files_after) for done in maintenance.compact(embedded, told=TOLD)]
    assert merged == ([(10, 1)] if value.isascii() or embedded.settings.engine == "embedded" else [])
    maintenance.vacuum(embedded, Pins(), told=TOLD, keep=NOW)
    assert parts(embedded, embedded.lakehouse.current(BRONZE)) == sorted(TEN)
    assert parts(embedded, write(embedded, BRONZE, [block("new", day=value)], Overwrite((value,)))) == ["new"]


def test_a_table_of_few_files_is_left_alone(embedded: Platform) -> None:
    before = append(embedded, BRONZE, *TEN[: maintenance.SPARED_FILES])
    assert maintenance.compact(embedded, told=TOLD) == []
    assert embedded.lakehouse.current(BRONZE) == before


def test_rows_lie_in_the_order_of_the_cluster_columns(each_engine: Engine, tmp_path: Path) -> None:
    platform = platform_on(each_engine, tmp_path / "home", contract(tmp_path, cluster=["weight"]))
    for count in range(10):
        write(platform, SILVER, [block("x", (7.0 * count) % 10)], Append("test", count), by=())
    [done] = maintenance.compact(platform, told=TOLD)
    assert (done.files_after, done.words) == (1, "ordered by weight")
    weights = platform.lakehouse.snapshot(SILVER).arrow()["weight"].to_pylist()
    assert weights == sorted(weights) == [float(weight) for weight in range(10)]
    assert platform.lakehouse.read(platform.lakehouse.current(SILVER)).count() == 10


def test_a_cluster_column_that_the_contract_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"cluster.*'height'.*one of the columns part, weight"):
        contract(tmp_path, cluster=["weight", "height"])


def test_costs_are_recorded_while_their_table_is_compacted(embedded: Platform) -> None:
    def record(count: int = 40) -> None:
        for name in range(count):
            embedded.lakehouse.record(COSTS, pa.table({"part": [str(name)]}))

    record(maintenance.SPARED_FILES + 1)
    recorder = threading.Thread(target=record)
    recorder.start()
    compacted = 0
    while recorder.is_alive():
        compacted += len(maintenance.compact(embedded, told=TOLD))
        assert maintenance.vacuum(embedded, Pins(), told=TOLD) == []
    recorder.join()
    assert compacted
    found = embedded.lakehouse.snapshot(COSTS).arrow()["part"].to_pylist()
    assert sorted(found) == sorted(map(str, [*range(maintenance.SPARED_FILES + 1), *range(40)]))


def test_days_past_the_retention_are_deleted_from_bronze_and_silver(platform: Platform) -> None:
    for table in (BRONZE, SILVER):
        append(platform, table, "old", day="2012-06-30")
        append(platform, table, "on the day", day="2012-07-01")
        append(platform, table, "new", day="2013-06-30")
    clock.move(
        platform.settings, datetime(2013, 7, 1, 18, tzinfo=UTC)
    )  # a year of 365.25 days after noon of 2012-07-01
    done = maintenance.retain(platform, told=TOLD)
    assert [(part.name, part.files_before, part.files_after, part.rows_deleted) for part in done] == [
        (str(BRONZE), 3, 2, 1), (str(SILVER), 3, 2, 1),
    ]  # fmt: skip
    for table in (BRONZE, SILVER):
        at = platform.lakehouse.current(table)
        assert parts(platform, at) == ["new", "on the day"]
        assert parts(platform, TableVersion(table, at.version - 1)) == ["new", "old", "on the day"]
    assert maintenance.retain(platform, told=TOLD) == []


def test_the_newest_snapshot_stays_however_old(each_engine: Engine, tmp_path: Path) -> None:
    platform = platform_on(each_engine, tmp_path / "home", contract(tmp_path, "bronze", delivery="snapshot"))
    append(platform, BRONZE, "older", day="2009-01-01")
    append(platform, BRONZE, "newest", day="2010-01-01")
    [done] = maintenance.retain(platform, told=TOLD)
    assert (done.rows_deleted, parts(platform, platform.lakehouse.current(BRONZE))) == (1, ["newest"])
    assert maintenance.retain(platform, told=TOLD) == []


def test_a_quarantine_without_days_loses_rows_by_when_they_were_ingested(platform: Platform) -> None:
    schema = pa.schema([("part", pa.string()), (INGESTED_AT, pa.timestamp("us", "UTC"))])
    now = datetime.now(UTC)
    rows = [{"part": "old", INGESTED_AT: now - timedelta(days=366)}, {"part": "new", INGESTED_AT: now}]
    write(platform, QUARANTINE, [*rows, {"part": "unknown", INGESTED_AT: None}], by=(), schema=schema)
    [done] = maintenance.retain(platform, told=TOLD)
    assert done.rows_deleted == 1
    assert parts(platform, platform.lakehouse.current(QUARANTINE)) == ["new", "unknown"]


def test_tables_without_retention_lose_nothing(embedded: Platform) -> None:
    embedded.lakehouse.record(COSTS, pa.table({"part": ["x"], PARTITION: ["1999-01-01"]}))
    write(embedded, SILVER, [block("follows bronze", day="1999-01-01")], by=())
    assert maintenance.retain(embedded, told=TOLD) == []


def test_vacuum_keeps_the_newest_and_the_pinned_version_and_frees_the_rest(platform: Platform) -> None:
    pinned = write(platform, SILVER, [block("pinned")])
    lost = write(platform, SILVER, [block("lost"), block("lost too", day="2013-01-02")])
    write(platform, SILVER, [block("newest")])
    litter = platform.lakehouse.path(SILVER) / f"{PARTITION}=2013-01-01" / "litter.parquet"
    litter.write_bytes(b"of a killed run")
    pins = Pins({pinned: frozenset({"toys.model@1"})})
    [done] = maintenance.vacuum(platform, pins, told=TOLD, keep=NOW)
    assert (done.files_before, done.files_after, done.words) == (5, 2, f"kept for models: {pinned.version}")
    assert done.bytes_freed > len("of a killed run")
    assert not litter.exists()
    assert parts(platform, pinned) == ["pinned"]
    assert parts(platform, platform.lakehouse.current(SILVER)) == ["newest"]
    assert len(platform.lakehouse.snapshot(lost).missing_files()) == 2
    assert maintenance.vacuum(platform, pins, told=TOLD, keep=NOW) == []


def test_vacuum_keeps_what_was_replaced_or_left_behind_a_short_while_ago(platform: Platform) -> None:
    before = write(platform, SILVER, [block("before")])
    write(platform, SILVER, [block("newest")])
    (platform.lakehouse.path(SILVER) / "staged by a writer.parquet").write_bytes(b"x")
    assert maintenance.vacuum(platform, Pins(), told=TOLD) == []
    assert parts(platform, before) == ["before"]


def test_tables_keep_their_log_whoever_writes_them(platform: Platform) -> None:
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


def test_upkeep_waits_for_a_writer_and_loses_none_of_its_rows(embedded: Platform) -> None:
    append(embedded, BRONZE, *TEN)
    done: list[maintenance.Upkept] = []
    keeper = threading.Thread(target=lambda: done.extend(maintenance.compact(embedded, told=TOLD)))
    house = embedded.lakehouse
    frame = house.session.createDataFrame(pa.Table.from_pylist([block("late")], schema=SCHEMA))
    with house.writing(BRONZE):
        staged = house.stage(BRONZE, frame, partition_by=(PARTITION,))
        keeper.start()
        keeper.join(timeout=0.5)
        assert keeper.is_alive()
        house.commit(BRONZE, staged, Append("test", 10), metadata={})
    keeper.join()
    assert [part.files_before for part in done] == [11]
    assert parts(embedded, house.current(BRONZE)) == sorted([*TEN, "late"])


#: Compacts every table of a home folder.
COMPACTS = """
import sys
from pathlib import Path
from pipelines.settings import Settings
from pipelines.upkeep import maintenance
from pipelines.governed.platform import Platform
maintenance.compact(Platform(Settings(home=Path(sys.argv[1]), profile="test"), dict), told={})
"""


def test_killed_in_compaction_a_table_reads_as_before_and_the_litter_is_found(embedded: Platform) -> None:
    days = [block(f"day {day}", day=f"{day:04d}-01-01") for day in range(400)]
    for _ in range(2):
        embedded.lakehouse.create(BRONZE, SCHEMA, partition_by=[PARTITION])
        embedded.lakehouse.record(BRONZE, pa.Table.from_pylist(days, schema=SCHEMA))
    before = embedded.lakehouse.current(BRONZE)
    committed = files_on_disk(embedded, before)
    command = [sys.executable, "-c", COMPACTS, str(embedded.settings.root)]
    with subprocess.Popen(command, cwd=PROJECT) as process:
        while process.poll() is None and files_on_disk(embedded, before) == committed:
            pass
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert files_on_disk(embedded, before) > committed
    assert embedded.lakehouse.current(BRONZE) == before
    assert parts(embedded, before) == sorted(2 * [row["part"] for row in days])
    [done] = maintenance.vacuum(embedded, Pins(), told=TOLD, keep=NOW)
    assert done.files_after == len(committed) == 800
    [done] = maintenance.compact(embedded, told=TOLD)
    assert (done.files_before, done.files_after) == (800, 400)
    assert parts(embedded, embedded.lakehouse.current(BRONZE)) == sorted(2 * [row["part"] for row in days])


def test_each_step_is_an_asset_that_shows_its_figures(embedded: Platform, materialize: Materialize) -> None:
    append(embedded, BRONZE, *TEN)
    append(embedded, BRONZE, "old", day="2000-01-01")
    clock.move(embedded.settings, datetime(2013, 1, 2, tzinfo=UTC))
    every = [steps.retention, steps.compaction, steps.vacuum, steps.pruning_of_records]
    result = materialize(embedded, every)
    names = [steps.retention.key, steps.compaction.key, steps.vacuum.key, steps.pruning_of_records.key]
    made = result.get_asset_materialization_events()
    assert [event.asset_key for event in made] == names
    figures = {event.materialization.asset_key.path[-1]: event.materialization.metadata for event in made}
    assert (figures["retention"]["rows_deleted"].value, figures["compaction"]["files_before"].value) == (1, 10)
    shown = figures["compaction"]["figures"]
    assert isinstance(shown, dg.TableMetadataValue)
    [record] = shown.records
    assert record.data == {
        "name": str(BRONZE), "files_before": 10, "files_after": 1, "rows_deleted": 0, "words": "merged",
        "bytes_freed": figures["compaction"]["bytes_freed"].value,
    }  # fmt: skip
    assert figures["vacuum"]["figures"].value == "nothing to do"
    runs = {commit.run_id for commit in time_travel.commits(embedded.lakehouse, BRONZE)[:2]}
    assert runs == {result.run_id}
    assert parts(embedded, embedded.lakehouse.current(BRONZE)) == sorted(TEN)
