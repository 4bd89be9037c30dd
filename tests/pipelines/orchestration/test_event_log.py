"""The batched event log holds the same events as Dagster's own SQLite storage, and stores a batch completely or not."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
import pytest
from dagster import AssetKey, DagsterEventType

from pipelines.orchestration.event_log import OPEN_FILES, BatchedSqliteEventLogStorage

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-21")
ALL = {"dagster/asset_partition_range_start": "2013-01-01", "dagster/asset_partition_range_end": "2013-01-20"}
BLOCKS, BOXES = AssetKey(["silver", "blocks"]), AssetKey(["silver", "boxes"])


@dg.multi_asset(
    specs=[dg.AssetSpec(key, partitions_def=DAYS, tags={"project": "blocks"}) for key in (BLOCKS, BOXES)],
    check_specs=[dg.AssetCheckSpec("contract", asset=BLOCKS, blocking=True)],
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def tables() -> Iterator[dg.MaterializeResult[None]]:
    check = dg.AssetCheckResult(passed=True, metadata={"rows": 7})
    yield dg.MaterializeResult(BLOCKS, metadata={"rows": 7}, check_results=[check], data_version=dg.DataVersion("3"))
    yield dg.MaterializeResult(BOXES)


@dg.asset(deps=[BOXES])
def broken() -> None:
    raise ValueError("no such box")


@pytest.fixture
def instances(tmp_path: Path) -> Iterator[dict[str, dg.DagsterInstance]]:
    """One instance with the batched storage, and one, `stock`, with Dagster's own."""
    with ExitStack() as stack:
        instances = {}
        for name in ("batched", "stock"):
            folder = tmp_path / name
            folder.mkdir()
            storage = {
                "module": BatchedSqliteEventLogStorage.__module__,
                "class": BatchedSqliteEventLogStorage.__name__,
                "config": {"base_dir": str(folder / "history")},
            }
            overrides: dict[str, Any] = {"telemetry": {"enabled": False}}
            overrides |= {"event_log_storage": storage} if name == "batched" else {}
            instances[name] = stack.enter_context(dg.DagsterInstance.local_temp(str(folder), overrides=overrides))
        yield instances


def materialize(instance: dg.DagsterInstance) -> str:
    result = dg.materialize([tables, broken], instance=instance, tags=ALL, raise_on_error=False)
    assert not result.success
    return result.run_id


def content(entry: dg.EventLogEntry) -> tuple[Any, ...]:
    """The content of an event, without its time and process."""
    event = entry.dagster_event
    if event is None:
        return ("log", entry.user_message)
    metadata = getattr(event.event_specific_data, "metadata", None)
    key = event.asset_key.to_user_string() if event.asset_key else None
    return (event.event_type_value, event.step_key, key, event.partition, str(metadata) if key else None)


def test_a_run_over_many_days_stores_the_same_events_as_the_stock_storage(
    instances: dict[str, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {"stock": materialize(instances["stock"])}
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    runs["batched"] = materialize(instances["batched"])
    assert isinstance(instances["batched"].event_log_storage, BatchedSqliteEventLogStorage)
    with_process_ids = ("ENGINE_EVENT", "LOGS_CAPTURED")
    events = {name: [content(entry) for entry in instances[name].all_logs(runs[name])] for name in runs}
    compared = {name: [event for event in events[name] if event[0] not in with_process_ids] for name in runs}
    assert compared["batched"] == compared["stock"]
    assert sum(event[0] == "ASSET_MATERIALIZATION" for event in compared["batched"]) == 2 * 20


def test_queries_across_runs_return_the_same_as_the_stock_storage(
    instances: dict[str, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    def query(instance: dg.DagsterInstance) -> dict[str, Any]:
        run = materialize(instance)
        latest = instance.get_latest_materialization_event(BLOCKS)
        checks = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(BLOCKS, "contract"), limit=100
        )
        failed = instance.fetch_run_status_changes(DagsterEventType.RUN_FAILURE, limit=10).records
        assert latest is not None
        return {
            "days": {key: instance.get_materialized_partitions(key) for key in (BLOCKS, BOXES)},
            "latest": content(latest),
            "versions": instance.get_latest_storage_id_by_partition(
                BLOCKS, DagsterEventType.ASSET_MATERIALIZATION
            ).keys(),
            "checks": [(check.status, check.partition, check.run_id == run) for check in checks],
            "failed": len(failed),
            "keys": sorted(instance.get_asset_keys()),
        }

    stock = query(instances["stock"])
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    assert query(instances["batched"]) == stock
    assert len(stock["days"][BLOCKS]) == 20
    assert stock["checks"]


def test_an_assets_newest_event_is_the_same_in_whichever_order_the_events_of_a_batch_came(
    instances: dict[str, dg.DagsterInstance], tmp_path: Path
) -> None:
    @dg.op(out={})
    def look() -> Iterator[dg.AssetObservation]:
        for number in range(3):
            yield dg.AssetObservation(BOXES, metadata={"number": number})

    @dg.job
    def looks() -> None:
        look()

    kinds = {"ASSET_OBSERVATION", "ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED"}
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as logged:
        runs = [materialize(logged), looks.execute_in_process(instance=logged).run_id]
        events = [entry for run in runs for entry in logged.all_logs(run) if entry.dagster_event_type in kinds]
    assert {entry.dagster_event_type for entry in events} == kinds

    def newest(name: str) -> list[Any]:
        with closing(sqlite3.connect(next(tmp_path.glob(f"{name}/**/index.db")))) as index:
            columns = "asset_key, last_materialization, last_run_id, last_materialization_timestamp"
            return index.execute(f"SELECT {columns} FROM asset_keys ORDER BY asset_key").fetchall()

    for seed in range(2):
        Random(seed).shuffle(events)
        for entry in events:
            instances["stock"].event_log_storage.store_event(entry)
        for start in range(0, len(events), 25):
            instances["batched"].event_log_storage.store_event_batch(events[start : start + 25])
        assert newest("batched") == newest("stock")
    assert len(newest("stock")) == 3


def test_no_event_of_a_failed_batch_is_stored(
    instances: dict[str, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, target = instances["stock"], instances["batched"].event_log_storage
    run = materialize(source)
    events = [entry for entry in source.all_logs(run) if entry.is_dagster_event]
    index = next(tmp_path.glob("batched/**/index.db"))
    with closing(sqlite3.connect(index)) as connection, connection:
        # One event in the middle of the batch fails as on a full disk.
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON event_logs WHEN NEW.partition = '2013-01-13' "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    with pytest.raises(Exception, match="disk is full"):
        target.store_event_batch(events)
    assert target.get_logs_for_run(run) == []
    assert target.get_materialized_partitions(BLOCKS) == set()
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("DROP TRIGGER full")
    target.store_event_batch(events)
    assert [content(entry) for entry in target.get_logs_for_run(run)] == [content(entry) for entry in events]
    assert len(target.get_materialized_partitions(BLOCKS)) == 20


def test_events_without_a_batch_are_stored_one_by_one(instances: dict[str, dg.DagsterInstance]) -> None:
    run = materialize(instances["batched"])
    assert len(instances["batched"].get_materialized_partitions(BOXES)) == 20
    assert instances["batched"].all_logs(run, of_type=DagsterEventType.RUN_FAILURE)


def test_more_runs_than_files_stay_open_keep_their_events(
    instances: dict[str, dg.DagsterInstance], tmp_path: Path
) -> None:
    target = instances["batched"].event_log_storage
    source = instances["stock"].all_logs(materialize(instances["stock"]))
    runs = [f"run-{number}" for number in range(OPEN_FILES + 2)]
    for run in runs:
        target.store_event(source[0]._replace(run_id=run))
    open_files = {Path(link).name for link in _links(Path("/proc/self/fd")) if str(tmp_path / "batched") in link}
    assert {name for name in open_files if name.endswith(".db")} <= {f"{run}.db" for run in runs[-OPEN_FILES:]} | {
        "index.db"
    }
    assert [len(target.get_logs_for_run(run)) for run in runs] == [1] * len(runs)
    for path in (tmp_path / "batched").glob(f"**/{runs[0]}.db*"):
        path.unlink()  # as upkeep does, of a run whose file was closed
    assert target.get_logs_for_run(runs[0]) == []
    target.dispose()
    assert not [link for link in _links(Path("/proc/self/fd")) if str(tmp_path / "batched") in link]
    assert len(target.get_logs_for_run(runs[1])) == 1


def _links(folder: Path) -> list[str]:
    """The files that a process has open."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(path.readlink()))
    return found


def test_threads_that_write_and_read_at_once_lose_no_event(instances: dict[str, dg.DagsterInstance]) -> None:
    target = instances["batched"].event_log_storage
    entry = instances["stock"].all_logs(materialize(instances["stock"]))[0]

    def store(number: int) -> int:
        target.store_event(entry._replace(run_id=f"run-{number % 2}"))
        return len(target.get_logs_for_run(f"run-{number % 2}"))

    with ThreadPoolExecutor(20) as threads:
        assert min(threads.map(store, range(100))) >= 1
    assert [len(target.get_logs_for_run(f"run-{number}")) for number in range(2)] == [50, 50]


@pytest.fixture
def batched(instances: dict[str, dg.DagsterInstance]) -> dg.DagsterInstance:
    return instances["batched"]


def _tables(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_the_file_of_a_new_run_is_a_copy_of_one_without_events(
    instances: dict[str, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    batched, stock = instances["batched"], instances["stock"]
    storage: Any = batched.event_log_storage
    first, of_stock = materialize(batched), materialize(stock)
    monkeypatch.setattr(storage, "_initdb", None)  # no table is made any more
    second = materialize(batched)
    of_run = Path(storage.path_for_shard(second))
    stock_storage: Any = stock.event_log_storage
    with closing(sqlite3.connect(of_run)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert _tables(of_run) == _tables(Path(stock_storage.path_for_shard(of_stock)))
    events = [[event.dagster_event_type for event in batched.all_logs(run)] for run in (first, second)]
    assert events[0] == events[1] != []
    assert set(storage.get_all_run_ids()) - {"runs"} == {first, second}


def test_a_file_that_got_an_event_meanwhile_is_not_copied(batched: dg.DagsterInstance) -> None:
    storage: Any = batched.event_log_storage
    materialize(batched)
    [empty] = Path(storage._base_dir).glob("empty-*")
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("INSERT INTO event_logs (run_id, event) VALUES ('another', '{}')")
        connection.commit()
    run_id = materialize(batched)
    with closing(sqlite3.connect(storage.path_for_shard(run_id))) as connection:
        assert connection.execute("SELECT DISTINCT run_id FROM event_logs").fetchall() == [(run_id,)]


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_file_without_events_is_made_anew(batched: dg.DagsterInstance, damage: bytes | None) -> None:
    storage: Any = batched.event_log_storage
    materialize(batched)
    [empty] = Path(storage._base_dir).glob("empty-*")
    whole = empty.read_bytes()
    empty.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert batched.all_logs(materialize(batched))
    assert empty.stat().st_size == len(whole)
    assert [path.name for path in empty.parent.iterdir() if path.name.startswith(".")] == []
