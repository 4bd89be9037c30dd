"""Old records of past work are removed; every version and state that is still needed stays readable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.engine.session import Engine
from pipelines.errors import NotFoundError
from pipelines.governed.platform import Platform
from pipelines.lakehouse import time_travel
from pipelines.orchestration import event_pruning
from pipelines.orchestration.event_log import BatchedSqliteEventLogStorage
from pipelines.provenance.pins import Pins
from pipelines.tables import TableVersion
from pipelines.upkeep import maintenance, records
from tests.pipelines.toy_tables import BRONZE, SILVER, append, block, parts, platform_on, write

NO_TIME = timedelta(0)
PARTS = [f"part {count:02d}" for count in range(25)]


@pytest.fixture
def platform(each_engine: Engine, tmp_path: Path) -> Platform:
    """A platform on both engines in turn."""
    return platform_on(each_engine, tmp_path / "home")


@pytest.fixture
def one_platform(engine: Engine, tmp_path: Path) -> Platform:
    """A platform on the suite's engine."""
    return platform_on(engine, tmp_path / "home")


def entries(platform: Platform) -> list[str]:
    """The names of the entries and checkpoints of the bronze table's log, sorted."""
    log = platform.lakehouse.path(BRONZE) / "_delta_log"
    return sorted(path.name for path in log.iterdir() if path.suffix in (".json", ".parquet"))


def test_a_cleaned_log_begins_at_the_oldest_pinned_version_and_later_versions_stay_readable(platform: Platform) -> None:
    append(platform, BRONZE, *PARTS)
    first = platform.lakehouse.current(BRONZE).version - len(PARTS) + 1
    pinned = TableVersion(BRONZE, first + 22)
    [result] = records.checkpoint_and_clean(platform, Pins({pinned: frozenset({"toys.model@1"})}), keep=NO_TIME)
    assert result.words == f"its log begins at version {pinned.version}"
    assert result.files_before - result.files_after >= 22
    assert entries(platform)[0].startswith(f"{pinned.version:020d}")
    assert parts(platform, pinned) == PARTS[:23]
    assert parts(platform, platform.lakehouse.current(BRONZE)) == PARTS
    with pytest.raises(NotFoundError, match=f"{BRONZE}@{pinned.version - 1}: its log does not hold it"):
        platform.lakehouse.snapshot(TableVersion(BRONZE, pinned.version - 1))
    assert time_travel.commits(platform.lakehouse, BRONZE)[-1].at == pinned
    assert parts(platform, append(platform, BRONZE, "z")) == [*PARTS, "z"]
    assert records.checkpoint_and_clean(platform, Pins({pinned: frozenset({"toys.model@1"})}), keep=NO_TIME) == []


def test_a_cleaned_log_keeps_the_commit_that_names_the_inputs_of_a_pinned_version(one_platform: Platform) -> None:
    source = append(one_platform, BRONZE, "a")
    for count in range(25):
        write(one_platform, SILVER, [block(f"{count}")], inputs={"blocks": source})
    maintenance.vacuum(one_platform, Pins(), commit_metadata={}, keep=NO_TIME)
    pinned = one_platform.lakehouse.current(SILVER)
    write(one_platform, SILVER, [block("newest")], inputs={"blocks": source})
    records.checkpoint_and_clean(one_platform, Pins({pinned: frozenset({"toys.model@1"})}), keep=NO_TIME)
    made_by = time_travel.made_by(time_travel.commits(one_platform.lakehouse, SILVER), pinned)
    assert made_by is not None
    assert (made_by.at.version < pinned.version, made_by.inputs) == (True, {"blocks": source})
    assert parts(one_platform, pinned) == ["24"]


def test_a_log_with_young_entries_gets_a_checkpoint_and_keeps_its_entries(one_platform: Platform) -> None:
    append(one_platform, BRONZE, *PARTS)
    before = [name for name in entries(one_platform) if name.endswith(".json")]
    assert records.checkpoint_and_clean(one_platform, Pins()) == []
    assert [name for name in entries(one_platform) if name.endswith(".json")][: len(before)] == before
    assert any("checkpoint" in name for name in entries(one_platform))


def test_old_quality_results_are_removed_except_the_newest_of_each_table(one_platform: Platform) -> None:
    assert records.quality_results(one_platform) is None
    for table, times in (("silver_toys_blocks", ("1", "2", "3")), ("gold_toys_heavy", ("1",))):
        for name in times:
            path = one_platform.settings.root / "quality" / table / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}", encoding="utf-8")
            os.utime(path, (0, 0) if name in "12" else None)
    result = records.quality_results(one_platform)
    assert result is not None
    assert (result.files_before, result.files_after, result.bytes_freed) == (4, 2, 4)
    left = sorted(
        str(path.relative_to(one_platform.settings.root)) for path in one_platform.settings.root.rglob("quality/*/*")
    )
    assert left == ["quality/gold_toys_heavy/1.json", "quality/silver_toys_blocks/3.json"]


@dg.asset
def bricks() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 7})


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    storage = {
        "module": BatchedSqliteEventLogStorage.__module__,
        "class": BatchedSqliteEventLogStorage.__name__,
        "config": {"base_dir": str(tmp_path / "history")},
    }
    overrides = {"telemetry": {"enabled": False}, "event_log_storage": storage}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as local:
        yield local


def test_events_of_old_runs_are_removed_and_the_runs_and_their_asset_metadata_stay(
    instance: dg.DagsterInstance,
) -> None:
    run_id = dg.materialize([bricks], instance=instance).run_id
    assert event_pruning.run_events(instance) is None
    assert instance.all_logs(run_id)
    later = dg.Definitions(assets=[bricks], jobs=[dg.define_asset_job("later")]).resolve_job_def("later")
    started = instance.create_run_for_job(later)
    result = event_pruning.run_events(instance, keep=NO_TIME)
    assert result is not None
    assert result.bytes_freed > 0
    assert instance.all_logs(run_id) == []
    latest = instance.get_latest_materialization_event(bricks.key)
    assert latest is not None
    assert latest.asset_materialization is not None
    assert latest.asset_materialization.metadata["rows"].value == 7
    assert {run.run_id for run in instance.get_runs()} == {run_id, started.run_id}
    again = dg.materialize([bricks], instance=instance)
    assert instance.all_logs(again.run_id)


def test_another_event_storage_loses_no_events() -> None:
    with dg.DagsterInstance.ephemeral() as elsewhere:
        dg.materialize([bricks], instance=elsewhere)
        assert event_pruning.run_events(elsewhere, keep=NO_TIME) is None
