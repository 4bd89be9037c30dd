"""What every asset run records, whether it succeeds or fails: lineage events, cost rows and Dagster metadata."""

from __future__ import annotations

import errno
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from pipelines.cost.focus import COSTS
from pipelines.engine.session import Engine
from pipelines.errors import CommitConflict, FullDiskError, LandingError, ModelError, TransientError
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import Check, GovernedRun, Work, Written
from pipelines.governed.platform import Platform
from pipelines.lineage.events import NAMESPACE, Dataset, LineageLog, RunIdentity
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.focus import MANDATORY
from tests.pipelines.toy_contracts import TAGS, number, text

PARTS = TableId("silver", "toys", "parts")
Make = Callable[..., tuple[str, dg.AssetsDefinition]]
_names = itertools.count()


@pytest.fixture
def platform(engine: Engine, tmp_path: Path) -> Platform:
    """A platform with one published table, `silver/toys/parts`."""
    contract = toy_contracts.contract(tmp_path, str(PARTS), [text("part"), number("weight")])
    platform = Platform(Settings(home=tmp_path / "home", profile="test"), lambda: {PARTS: contract})
    platform.engine = engine
    platform.lakehouse.record(PARTS, pa.table({"part": ["brick", "plate"], "weight": [2.5, 1.0]}))
    return platform


@pytest.fixture
def make() -> Make:
    """Declares an asset with a key of its own around a work function; returns its name and the asset."""

    def declare(work: Work, **more: Any) -> tuple[str, dg.AssetsDefinition]:
        key = ("ops", "toys", f"asset_{next(_names)}")
        values: dict[str, Any] = {"key": key, "kind": "ops", "owner": "toy-data", "tags": TAGS, "kinds": ("json",)}
        return "/".join(key), governed_asset(**(values | more))(work)

    return declare


def weigh(run: GovernedRun) -> Iterator[Written]:
    """The weight of all parts. Grain: one number."""
    rows = run.input("parts").count() if "parts" in run.versions else 0
    yield Written(Dataset(run.declaration.name, "v1", "toy-data", rows=rows, bytes=1024), {"heavy": False})


def events(platform: Platform, asset: str) -> list[dict[str, Any]]:
    """The lineage events of an asset, oldest first."""
    return [event for event in platform.lineage.events() if event["job"]["name"] == asset]


def costs(platform: Platform, asset: str) -> list[dict[str, Any]]:
    """The cost rows of an asset."""
    rows: pa.Table = platform.lakehouse.snapshot(COSTS).arrow()
    return [row for row in rows.to_pylist() if row["ResourceId"] == asset]


def assert_openlineage(event: dict[str, Any]) -> None:
    """Asserts what the OpenLineage specification (RunEvent 2-0-2) requires of every event and facet."""
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
    uuid.UUID(event["run"]["runId"])
    assert event["producer"].startswith("https://")
    assert "OpenLineage.json#/$defs/RunEvent" in event["schemaURL"]
    named_objects = [event["job"], *event["inputs"], *event["outputs"]]
    assert all(named["namespace"] == NAMESPACE and named["name"] for named in named_objects)
    with_facets = [event["run"], *named_objects]
    facets = [facet for owner in with_facets for facet in owner.get("facets", {}).values()]
    facets += [facet for output in event["outputs"] for facet in output.get("outputFacets", {}).values()]
    assert facets
    assert all(
        facet["_producer"] and facet["_schemaURL"].startswith("https://openlineage.io/spec/") for facet in facets
    )


def test_a_run_leaves_a_start_and_a_complete_event(platform: Platform, make: Make, materialize: Materialize) -> None:
    name, asset = make(weigh, inputs={"parts": str(PARTS)})
    result = materialize(platform, [asset])
    start, complete = events(platform, name)
    for event in (start, complete):
        assert_openlineage(event)
        assert [(d["name"], d["facets"]["version"]["datasetVersion"]) for d in event["inputs"]] == [(str(PARTS), "0")]
        assert event["run"]["facets"]["parent"]["run"]["runId"] == result.run_id
        tags = {tag["key"]: tag["value"] for tag in event["run"]["facets"]["tags"]["tags"]}
        assert tags == TAGS | {"owner": "toy-data", "environment": "test"}
        assert event["job"]["facets"]["ownership"]["owners"][0]["name"] == "toy-data"
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"] != result.run_id
    [output] = complete["outputs"]
    assert (start["outputs"], output["name"], output["facets"]["version"]["datasetVersion"]) == ([], name, "v1")
    assert (
        output["outputFacets"]["outputStatistics"] | {"rowCount": 2, "size": 1024}
        == output["outputFacets"]["outputStatistics"]
    )
    assert [f["name"] for f in complete["inputs"][0]["facets"]["schema"]["fields"]] == ["part", "weight"]


def test_producer_of_returns_the_event_that_wrote_a_version(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    name, asset = make(weigh)
    materialize(platform, [asset])
    event = platform.lineage.producer_of(name, "v1")
    assert event is not None
    assert event["job"]["name"] == name
    assert platform.lineage.producer_of(name, "v2") is None


def test_an_unfinished_last_line_of_the_event_log_is_skipped(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    name, asset = make(weigh)
    materialize(platform, [asset])
    with platform.lineage.path.open("a", encoding="utf-8") as log:
        log.write('{"eventType": "COMP')
    assert [event["eventType"] for event in events(platform, name)] == ["START", "COMPLETE"]


@pytest.mark.parametrize(
    "damage",
    [
        "{}",
        "[1]",
        '{"eventType": "COMPLETE"}',
        '{"eventType": 1, "job": {"name": "x"}, "inputs": [], "outputs": [], "run": {}}',
        '{"eventType": "COMPLETE", "job": {"name": "x"}, "inputs": [], "outputs": [{"name": 3}], "run": {}}',
        "\x00\x00",
    ],
)
def test_lines_of_another_shape_are_skipped_and_named(tmp_path: Path, damage: str) -> None:
    log = LineageLog(Settings(home=tmp_path))
    run = RunIdentity("gold/toys/blocks", str(uuid.uuid4()), 0, {}, "team")
    log.start(run, [])
    with log.path.open("a", encoding="utf-8") as file:
        file.write(f'{damage}\n{{"eventType": "COMP')
    log.complete(run, [], [Dataset("gold/toys/blocks", "1")])
    assert [event["eventType"] for event in log.events()] == ["START", "COMPLETE"]
    assert log.damaged() == [2, 3]


def test_a_materialization_shows_version_rows_inputs_and_cost(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    _, asset = make(weigh, inputs={"parts": str(PARTS)})
    [event] = materialize(platform, [asset]).get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (metadata["version"], metadata["dagster/row_count"], metadata["heavy"]) == ("v1", 2, False)
    assert metadata["inputs"] == {str(PARTS): "0"}
    assert float(str(metadata["cost"])) > 0
    assert metadata["bytes_read"] == platform.lakehouse.snapshot(PARTS).bytes
    assert metadata["bytes_written"] == 1024
    assert (event.materialization.tags or {})["dagster/data_version"] == "v1"


def test_a_run_leaves_focus_rows_with_its_tags(platform: Platform, make: Make, materialize: Materialize) -> None:
    name, asset = make(weigh)
    result = materialize(platform, [asset])
    rows = costs(platform, name)
    assert {row["SkuId"] for row in rows} == {"CPU", "Memory", "Bytes read", "Bytes written"}
    for row in rows:
        assert set(MANDATORY) <= row.keys()
        assert (row["x_status"], row["x_run_id"]) == ("SUCCEEDED", result.run_id)
        assert json.loads(row["Tags"]) == TAGS | {"owner": "toy-data", "environment": "test"}
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]


def test_a_failing_run_leaves_its_fail_event_and_its_cost(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    def fail(run: GovernedRun) -> Iterator[Written]:
        """Fails after it has read. Grain: none."""
        yield Written(Dataset(run.declaration.name, "v1", bytes=4096))
        raise ZeroDivisionError("no parts")

    name, asset = make(fail, inputs={"parts": str(PARTS)})
    result = materialize(platform, [asset], raise_on_error=False)
    assert not result.success
    assert result.get_asset_materialization_events() == []
    start, failed = events(platform, name)
    assert_openlineage(failed)
    assert (start["eventType"], failed["eventType"], failed["outputs"]) == ("START", "FAIL", [])
    assert failed["run"]["facets"]["errorMessage"]["message"] == "ZeroDivisionError: no parts"
    assert [dataset["name"] for dataset in failed["inputs"]] == [str(PARTS)]
    rows = costs(platform, name)
    assert {row["x_status"] for row in rows} == {"FAILED"}
    assert all(set(MANDATORY) <= row.keys() for row in rows)
    assert platform.lineage.producer_of(name) is None


def test_an_input_that_was_never_published_fails_the_run_and_names_the_next_step(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    platform.contracts[TableId("silver", "toys", "nowhere")] = platform.contracts[PARTS]
    name, asset = make(weigh, inputs={"parts": "silver/toys/nowhere"})
    result = materialize(platform, [asset], raise_on_error=False)
    [failed] = events(platform, name)
    assert failed["eventType"] == "FAIL"
    assert "goldpath materialize " in failed["run"]["facets"]["errorMessage"]["message"]
    assert not result.success
    assert costs(platform, name)


def failure_messages(result: dg.ExecuteInProcessResult) -> list[str]:
    return [str(event.step_failure_data.error_display_string) for event in result.get_step_failure_events()]


def test_a_transient_error_is_retried(platform: Platform, make: Make, materialize: Materialize) -> None:
    attempts: list[int] = []

    def conflict(run: GovernedRun) -> Iterator[Written]:
        """Succeeds the second time. Grain: none."""
        attempts.append(run.context.retry_number)
        if len(attempts) == 1:
            raise CommitConflict(object="table t", observed="version 7", expected="version 6", next_step="again")
        yield Written(Dataset(run.declaration.name, "v1"))

    name, asset = make(conflict)
    assert materialize(platform, [asset]).success
    assert attempts == [0, 1]
    assert [event["eventType"] for event in events(platform, name)] == ["START", "FAIL", "START", "COMPLETE"]
    first, first_end, second, second_end = [event["run"]["runId"] for event in events(platform, name)]
    assert first == first_end != second == second_end
    assert sorted(row["x_status"] for row in costs(platform, name)) == ["FAILED"] * 4 + ["SUCCEEDED"] * 4


def test_each_retry_waits_at_most_a_limit_that_doubles(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    faults: list[Exception] = [
        ConnectionResetError("the source went away"),
        TransientError(object="bucket b", observed="no answer", expected="one", next_step="wait"),
    ]

    def interrupted(run: GovernedRun) -> Iterator[Written]:
        """Succeeds the third time. Grain: none."""
        if faults:
            raise faults.pop()
        yield Written(Dataset(run.declaration.name, "v1"))

    result = materialize(platform, [make(interrupted)[1]])
    assert result.success
    retries = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    waits = [event.step_retry_data.seconds_to_wait for event in retries]
    for wait, highest in zip(waits, (2, 4), strict=True):
        assert wait is not None
        assert 0 <= wait <= highest


@pytest.mark.parametrize(
    "error",
    [
        FullDiskError(object="disk /d", observed="no space", expected="some", next_step="free some"),
        LandingError(object="delivery d", observed="half", expected="a whole one", next_step="ask again"),
        ValueError("a mistake"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=repr,
)
def test_an_error_that_is_not_transient_is_not_retried(
    platform: Platform, make: Make, materialize: Materialize, error: Exception
) -> None:
    attempts: list[int] = []

    def mistaken(run: GovernedRun) -> Iterator[Written]:
        """Never succeeds. Grain: none."""
        attempts.append(run.context.retry_number)
        raise error
        yield

    result = materialize(platform, [make(mistaken)[1]], raise_on_error=False)
    assert (result.success, attempts) == (False, [0])
    assert not [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]


def test_a_goldpath_error_is_shown_with_its_next_step(platform: Platform, make: Make, materialize: Materialize) -> None:
    attempts: list[int] = []

    def refuse(run: GovernedRun) -> Iterator[Written]:
        """Never succeeds. Grain: none."""
        attempts.append(run.context.retry_number)
        raise ModelError(object="model m", observed="no files", expected="some", next_step="train it")
        yield

    _, asset = make(refuse)
    result = materialize(platform, [asset], raise_on_error=False)
    assert attempts == [0]
    [message] = failure_messages(result)
    assert "model m: no files. Expected some. Next: train it" in message


def test_an_input_is_read_as_of_the_start_of_the_run_although_a_newer_version_was_published(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    parts_by_run: list[list[str]] = []

    def race(run: GovernedRun) -> Iterator[Written]:
        """Somebody publishes while it works. Grain: none."""
        platform.lakehouse.record(PARTS, pa.table({"part": ["tile"], "weight": [0.5]}))
        parts_by_run.append(sorted(run.input("parts").toArrow()["part"].to_pylist()))
        yield Written(Dataset(run.declaration.name, "v1"))

    name, asset = make(race, inputs={"parts": str(PARTS)})
    materialize(platform, [asset])
    materialize(platform, [asset])
    assert parts_by_run == [["brick", "plate"], ["brick", "plate", "tile"]]
    versions = [e["inputs"][0]["facets"]["version"]["datasetVersion"] for e in events(platform, name)]
    assert versions == ["0", "0", "1", "1"]


def test_a_recorded_input_is_in_the_lineage_and_in_the_cost(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    def load(run: GovernedRun) -> Iterator[Written]:
        """Reads a file that is no table. Grain: none."""
        run.record_input(Dataset("landing/toys/parts", "00000003", bytes=2048))
        yield Written(Dataset(run.declaration.name, "v1"))

    name, asset = make(load)
    materialize(platform, [asset])
    start, complete = events(platform, name)
    assert (start["inputs"], [d["name"] for d in complete["inputs"]]) == ([], ["landing/toys/parts"])
    [read] = [row for row in costs(platform, name) if row["SkuId"] == "Bytes read"]
    assert read["ConsumedQuantity"] == 2048 / 2**30


def checked_work(*, passed: bool) -> Work:
    """Work whose check `ok` passes or fails."""

    def work(run: GovernedRun) -> Iterator[Written]:
        """Is checked. Grain: none."""
        key = dg.AssetKey(list(run.declaration.key))
        yield Written(
            Dataset(run.declaration.name, "v1"),
            checks=(dg.AssetCheckResult(check_name="ok", asset_key=key, passed=passed),),
        )

    return work


def test_a_failed_blocking_check_stops_the_downstream_asset(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    name, upstream = make(checked_work(passed=False), checks=[Check("ok", "is it?", blocking=True)])
    downstream_name, downstream = make(weigh, deps=[name.split("/")])
    result = materialize(platform, [upstream, downstream], raise_on_error=False)
    assert not result.success
    assert events(platform, downstream_name) == []
    [check] = result.get_asset_check_evaluations()
    assert not check.passed


def test_a_failed_check_that_does_not_block_lets_the_downstream_asset_run(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    name, upstream = make(checked_work(passed=False), checks=[Check("ok", "is it?", blocking=False)])
    downstream_name, downstream = make(weigh, deps=[name.split("/")])
    assert materialize(platform, [upstream, downstream]).success
    assert len(events(platform, downstream_name)) == 2


class Pieces(dg.Config):
    """The number of pieces."""

    count: int = 1


def test_work_receives_its_config(platform: Platform, make: Make, materialize: Materialize) -> None:
    def count(run: GovernedRun, config: Pieces) -> Iterator[Written]:
        """Counts. Grain: none."""
        yield Written(Dataset(run.declaration.name, "v1", rows=config.count))

    name, asset = make(count, config=Pieces)
    materialize(platform, [asset])
    [output] = events(platform, name)[-1]["outputs"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 1
