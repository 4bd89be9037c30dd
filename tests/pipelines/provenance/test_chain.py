"""From a prediction's features back to the table version that holds them: a filled one, or a pushed event's."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.lineage.events import Dataset, RunIdentity
from pipelines.provenance import chain
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import TAGS, number, text

WEIGHTS = TableId("gold", "toys", "weights")
MORNING = datetime(2013, 1, 1, 9, tzinfo=UTC)
NOON = MORNING + timedelta(hours=3)


@pytest.fixture
def platform(engine: Engine, tmp_path: Path) -> Platform:
    """A platform with a feature table of two versions: the second one adds the row of noon."""
    contract = toy_contracts.contract(
        tmp_path,
        str(WEIGHTS),
        [
            text("part", primaryKey=True, primaryKeyPosition=1),
            text("event_timestamp", logicalType="timestamp", primaryKey=True, primaryKeyPosition=2),
            number("weight"),
            number("age"),
        ],
    )
    platform = Platform(Settings(home=tmp_path / "home", profile="test"), lambda: {WEIGHTS: contract})
    platform.engine = engine
    for instant, weight in ((MORNING, 1.5), (NOON, 2.5)):
        rows = {
            "part": ["brick"], "event_timestamp": pa.array([instant], pa.timestamp("us", "UTC")), "weight": [weight],
            "age": pa.array([None], pa.float64()), "_record_id": [f"{instant:%H}" * 8 + "1"],
        }  # fmt: skip
        platform.lakehouse.record(WEIGHTS, pa.table(rows))
    return platform


def origin(platform: Platform, instant: datetime, values: dict[str, Any], *filled_from: int) -> tuple[str, int | None]:
    """The source and the version of a feature row, where runs had moved the store to these versions."""
    entry = {"view": "weights", "table": str(WEIGHTS), "timestamp": instant.isoformat(), "values": values}
    prediction = {"columns": {"part": "brick"}}
    versions = [{str(WEIGHTS): version} for version in filled_from]
    found = chain._with_origin(platform, "toys", entry, prediction, versions)
    return found["source"], found["version"]


@pytest.mark.parametrize(
    ("instant", "values", "filled_from", "expected"),
    [
        pytest.param(MORNING, {"weight": 1.5, "age": None}, [0], ("table", 0), id="the version of the last run"),
        pytest.param(MORNING, {"weight": 1.5}, [1, 0], ("table", 1), id="the newer of two that hold it"),
        pytest.param(NOON, {"weight": 2.5}, [1, 0], ("table", 1), id="a run on its way had written it"),
        pytest.param(NOON, {"weight": 2.5}, [0], ("pushed event", 1), id="no run had written it"),
        pytest.param(NOON, {"weight": 9.0}, [1, 0], ("unknown", None), id="other values"),
        pytest.param(NOON, {"weight": None}, [1, 0], ("unknown", None), id="a null that is a value"),
        pytest.param(MORNING, {"age": 7.0}, [0], ("unknown", None), id="a value that is a null"),
        pytest.param(NOON + timedelta(hours=1), {"weight": 2.5}, [1], ("unknown", None), id="another time"),
    ],
)
def test_the_origin_is_the_version_that_holds_the_row(
    platform: Platform, instant: datetime, values: dict[str, Any], filled_from: list[int], expected: tuple[str, Any]
) -> None:
    assert origin(platform, instant, values, *filled_from) == expected


def test_a_run_counts_from_its_start_and_not_before(platform: Platform) -> None:
    def run(version: int) -> None:
        identity = RunIdentity("features/toys/online", str(uuid.uuid4()), 0, TAGS, "toy-data")
        platform.lineage.start(identity, [Dataset(str(WEIGHTS), str(version))])

    run(0)
    between = datetime.now(UTC)
    run(1)
    after = datetime.now(UTC)
    assert chain._filled_from(platform, "toys", between.isoformat()) == [{str(WEIGHTS): 0}]
    assert chain._filled_from(platform, "toys", after.isoformat()) == [{str(WEIGHTS): 1}, {str(WEIGHTS): 0}]
    assert chain._filled_from(platform, "other", after.isoformat()) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"probability": 0.25, "decision": "no"}, "probability 0.250, no"),
        (
            {"value": 61.25, "interval": {"low": 58.0, "high": 64.5, "level": 0.9}},
            "value 61.25, between 58 and 64.5 with probability 90%",
        ),
        ({"label": "b", "probabilities": {"a": 0.25, "b": 0.75}}, "b, with probability 0.750"),
    ],
)
def test_an_answer_of_each_task_is_put_into_words(answer: dict[str, Any], words: str) -> None:
    assert chain._answer(answer) == words
