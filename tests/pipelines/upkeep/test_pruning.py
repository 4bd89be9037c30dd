"""Records of past work go once they are old; what may still be asked for stays, and answers as before."""

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
from tests.pipelines.made_tables import BRONZE, SILVER, append, block, parts, platform_on, write

NOW = timedelta(0)
MANY = [f"part {count:02d}" for count in range(25)]


@pytest.fixture
def platform(each_engine: Engine, tmp_path: Path) -> Platform:
    return platform_on(each_engine, tmp_path / "home")


@pytest.fixture
def embedded(engine: Engine, tmp_path: Path) -> Platform:
    return platform_on(engine, tmp_path / "home")


def entries(platform: Platform) -> list[str]:
    log = platform.lakehouse.path(BRONZE) / "_delta_log"
    return sorted(path.name for path in log.iterdir() if path.suffix in (".json", ".parquet"))


def test_a_log_begins_at_the_oldest_pinned_version_and_both_engines_read_from_there(platform: Platform) -> None:
    append(platform, BRONZE, *MANY)
    first = platform.lakehouse.current(BRONZE).version - len(MANY) + 1
    pinned = TableVersion(BRONZE, first + 22)
    [done] = records.checkpoint_and_clean(platform, Pins({pinned: frozenset({"toys.model@1"})}), keep=NOW)
    assert done.words == f"its log begins at version {pinned.version}"
    assert done.files_before - done.files_after >= 22
    assert entries(platform)[0].startswith(f"{pinned.version:020d}")
    assert parts(platform, pinned) == MANY[:23]
    assert parts(platform, platform.lakehouse.current(BRONZE)) == MANY
    with pytest.raises(NotFoundError, match=f"{BRONZE}@{pinned.version - 1}: its log does not hold it"):
        platform.lakehouse.snapshot(TableVersion(BRONZE, pinned.version - 1))
    assert time_travel.commits(platform.lakehouse, BRONZE)[-1].at == pinned
    assert parts(platform, append(platform, BRONZE, "z")) == [*MANY, "z"]
    assert records.checkpoint_and_clean(platform, Pins({pinned: frozenset({"toys.model@1"})}), keep=NOW) == []


def test_a_pinned_version_that_upkeep_made_keeps_the_commit_that_names_its_inputs(embedded: Platform) -> None:
    source = append(embedded, BRONZE, "a")
    for count in range(25):
        write(embedded, SILVER, [block(f"{count}")], inputs={"blocks": source})
    maintenance.vacuum(embedded, Pins(), told={}, keep=NOW)
    pinned = embedded.lakehouse.current(SILVER)
    write(embedded, SILVER, [block("newest")], inputs={"blocks": source})
    records.checkpoint_and_clean(embedded, Pins({pinned: frozenset({"toys.model@1"})}), keep=NOW)
    made_by = time_travel.made_by(time_travel.commits(embedded.lakehouse, SILVER), pinned)
    assert made_by is not None
    assert (made_by.at.version < pinned.version, made_by.inputs) == (True, {"blocks": source})
    assert parts(embedded, pinned) == ["24"]


def test_a_log_keeps_what_is_younger(embedded: Platform) -> None:
    append(embedded, BRONZE, *MANY)
    before = [name for name in entries(embedded) if name.endswith(".json")]
    assert records.checkpoint_and_clean(embedded, Pins()) == []
    assert [name for name in entries(embedded) if name.endswith(".json")][: len(before)] == before
    assert any("checkpoint" in name for name in entries(embedded))


def test_old_quality_results_go_but_for_the_newest_of_a_table(embedded: Platform) -> None:
    assert records.quality_results(embedded) is None
    for table, times in (("silver_toys_blocks", ("1", "2", "3")), ("gold_toys_heavy", ("1",))):
        for name in times:
            path = embedded.settings.root / "quality" / table / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}", encoding="utf-8")
            os.utime(path, (0, 0) if name in "12" else None)
    done = records.quality_results(embedded)
    assert done is not None
    assert (done.files_before, done.files_after, done.bytes_freed) == (4, 2, 4)
    left = sorted(str(path.relative_to(embedded.settings.root)) for path in embedded.settings.root.rglob("quality/*/*"))
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
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as made:
        yield made


def test_events_of_old_runs_go_and_what_dagster_knows_of_assets_stays(instance: dg.DagsterInstance) -> None:
    run_id = dg.materialize([bricks], instance=instance).run_id
    assert event_pruning.run_events(instance) is None
    assert instance.all_logs(run_id)
    later = dg.Definitions(assets=[bricks], jobs=[dg.define_asset_job("later")]).resolve_job_def("later")
    started = instance.create_run_for_job(later)
    done = event_pruning.run_events(instance, keep=NOW)
    assert done is not None
    assert done.bytes_freed > 0
    assert instance.all_logs(run_id) == []
    latest = instance.get_latest_materialization_event(bricks.key)
    assert latest is not None
    assert latest.asset_materialization is not None
    assert latest.asset_materialization.metadata["rows"].value == 7
    assert {run.run_id for run in instance.get_runs()} == {run_id, started.run_id}
    again = dg.materialize([bricks], instance=instance)
    assert instance.all_logs(again.run_id)


def test_where_dagster_keeps_events_elsewhere_nothing_is_removed() -> None:
    with dg.DagsterInstance.ephemeral() as elsewhere:
        dg.materialize([bricks], instance=elsewhere)
        assert event_pruning.run_events(elsewhere, keep=NOW) is None
