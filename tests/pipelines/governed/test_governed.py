"""What every asset run leaves behind, whether it succeeds or fails."""

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
from pipelines.lineage.events import NAMESPACE, Dataset
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines import toys
from tests.pipelines.focus import MANDATORY
from tests.pipelines.toys import TAGS, number, text

PARTS = TableId("silver", "toys", "parts")
Make = Callable[..., tuple[str, dg.AssetsDefinition]]
_names = itertools.count()


@pytest.fixture
def platform(engine: Engine, tmp_path: Path) -> Platform:
    """A platform with one published table, `silver/toys/parts`."""
    contract = toys.contract(tmp_path, str(PARTS), [text("part"), number("weight")])
    made = Platform(Settings(home=tmp_path / "home", profile="test"), lambda: {PARTS: contract})
    made.engine = engine
    made.lakehouse.record(PARTS, pa.table({"part": ["brick", "plate"], "weight": [2.5, 1.0]}))
    return made


@pytest.fixture
def make() -> Make:
    """Declares an asset of one's own around a work function."""

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
    return [event for event in platform.lineage.events() if event["job"]["name"] == asset]


def costs(platform: Platform, asset: str) -> list[dict[str, Any]]:
    rows: pa.Table = platform.lakehouse.snapshot(COSTS).arrow()
    return [row for row in rows.to_pylist() if row["ResourceId"] == asset]


def assert_openlineage(event: dict[str, Any]) -> None:
    """What the OpenLineage specification (RunEvent 2-0-2) asks of every event and facet."""
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
    uuid.UUID(event["run"]["runId"])
    assert event["producer"].startswith("https://")
    assert "OpenLineage.json#/$defs/RunEvent" in event["schemaURL"]
    named = [event["job"], *event["inputs"], *event["outputs"]]
    assert all(thing["namespace"] == NAMESPACE and thing["name"] for thing in named)
    holders = [event["run"], *named]
    facets = [facet for holder in holders for facet in holder.get("facets", {}).values()]
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


def test_lineage_knows_who_wrote_a_version(platform: Platform, make: Make, materialize: Materialize) -> None:
    name, asset = make(weigh)
    materialize(platform, [asset])
    event = platform.lineage.producer_of(name, "v1")
    assert event is not None
    assert event["job"]["name"] == name
    assert platform.lineage.producer_of(name, "v2") is None


def test_a_line_that_a_killed_process_left_unfinished_is_passed_over(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    name, asset = make(weigh)
    materialize(platform, [asset])
    with platform.lineage.path.open("a", encoding="utf-8") as log:
        log.write('{"eventType": "COMP')
    assert [event["eventType"] for event in events(platform, name)] == ["START", "COMPLETE"]


def test_dagster_shows_version_rows_inputs_and_cost(platform: Platform, make: Make, materialize: Materialize) -> None:
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


def test_an_input_that_was_never_published_fails_the_run_with_what_to_do(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    name, asset = make(weigh, inputs={"parts": "silver/toys/nowhere"})
    result = materialize(platform, [asset], raise_on_error=False)
    [failed] = events(platform, name)
    assert failed["eventType"] == "FAIL"
    assert "materialize the asset of that name first" in failed["run"]["facets"]["errorMessage"]["message"]
    assert not result.success
    assert costs(platform, name)


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [str(event.step_failure_data.error_display_string) for event in result.get_step_failure_events()]


def test_a_transient_error_is_tried_again(platform: Platform, make: Make, materialize: Materialize) -> None:
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
    found = events(platform, name)
    assert [event["eventType"] for event in found] == ["START", "FAIL", "START", "COMPLETE"]
    assert found[0]["run"]["runId"] == found[1]["run"]["runId"] != found[2]["run"]["runId"] == found[3]["run"]["runId"]
    assert sorted(row["x_status"] for row in costs(platform, name)) == ["FAILED"] * 4 + ["SUCCEEDED"] * 4


def test_whatever_may_pass_is_tried_again_each_time_more_patiently(
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
def test_a_mistake_is_not_tried_again(
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


def test_a_terminal_error_is_not_tried_again_and_says_what_to_do(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    attempts: list[int] = []

    def refuse(run: GovernedRun) -> Iterator[Written]:
        """Never succeeds. Grain: none."""
        attempts.append(run.context.retry_number)
        raise ModelError(object="model m", observed="no files", expected="some", next_step="train it")
        yield

    _, asset = make(refuse)
    result = materialize(platform, [asset], raise_on_error=False)
    assert attempts == [0]
    [said] = failures(result)
    assert "model m: no files. Expected some. Next: train it" in said


def test_an_input_is_read_as_of_the_start_of_the_run(platform: Platform, make: Make, materialize: Materialize) -> None:
    seen: list[list[str]] = []

    def race(run: GovernedRun) -> Iterator[Written]:
        """Somebody publishes while it works. Grain: none."""
        platform.lakehouse.record(PARTS, pa.table({"part": ["tile"], "weight": [0.5]}))
        seen.append(sorted(run.input("parts").toArrow()["part"].to_pylist()))
        yield Written(Dataset(run.declaration.name, "v1"))

    name, asset = make(race, inputs={"parts": str(PARTS)})
    materialize(platform, [asset])
    materialize(platform, [asset])
    assert seen == [["brick", "plate"], ["brick", "plate", "tile"]]
    versions = [e["inputs"][0]["facets"]["version"]["datasetVersion"] for e in events(platform, name)]
    assert versions == ["0", "0", "1", "1"]


def test_what_else_was_read_is_an_input_too(platform: Platform, make: Make, materialize: Materialize) -> None:
    def load(run: GovernedRun) -> Iterator[Written]:
        """Reads a file that is no table. Grain: none."""
        run.reads(Dataset("landing/toys/parts", "00000003", bytes=2048))
        yield Written(Dataset(run.declaration.name, "v1"))

    name, asset = make(load)
    materialize(platform, [asset])
    start, complete = events(platform, name)
    assert (start["inputs"], [d["name"] for d in complete["inputs"]]) == ([], ["landing/toys/parts"])
    [read] = [row for row in costs(platform, name) if row["SkuId"] == "Bytes read"]
    assert read["ConsumedQuantity"] == 2048 / 2**30


def checking(*, passed: bool) -> Work:
    def work(run: GovernedRun) -> Iterator[Written]:
        """Is checked. Grain: none."""
        key = dg.AssetKey(list(run.declaration.key))
        yield Written(
            Dataset(run.declaration.name, "v1"),
            check=dg.AssetCheckResult(check_name="ok", asset_key=key, passed=passed),
        )

    return work


def test_a_failed_blocking_check_stops_what_depends_on_it(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    name, upstream = make(checking(passed=False), check=Check("ok", "is it?", blocking=True))
    after, downstream = make(weigh, deps=[name.split("/")])
    result = materialize(platform, [upstream, downstream], raise_on_error=False)
    assert not result.success
    assert events(platform, after) == []
    [check] = result.get_asset_check_evaluations()
    assert not check.passed


def test_a_failed_check_that_does_not_block_stops_nothing(
    platform: Platform, make: Make, materialize: Materialize
) -> None:
    name, upstream = make(checking(passed=False), check=Check("ok", "is it?", blocking=False))
    after, downstream = make(weigh, deps=[name.split("/")])
    assert materialize(platform, [upstream, downstream]).success
    assert len(events(platform, after)) == 2


class Pieces(dg.Config):
    """How many."""

    count: int = 1


def test_a_run_is_configured_by_its_own_class(platform: Platform, make: Make, materialize: Materialize) -> None:
    def count(run: GovernedRun, config: Pieces) -> Iterator[Written]:
        """Counts. Grain: none."""
        yield Written(Dataset(run.declaration.name, "v1", rows=config.count))

    name, asset = make(count, config=Pieces)
    materialize(platform, [asset])
    [output] = events(platform, name)[-1]["outputs"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 1
