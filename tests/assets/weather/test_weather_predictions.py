"""What the service logs becomes tables, and is joined with the temperature that was observed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from assets.weather import gold, predictions
from assets.weather.deliveries import land
from assets.weather.observations import bronze_observations, silver_observations
from assets.weather.service import HourQuestion, temperature_service
from pipelines.governed.platform import Platform
from pipelines.models import prediction_log
from pipelines.models.question import columns_of
from pipelines.tables import TableId
from tests.conftest import Materialize

DAY = date(2013, 11, 3)
#: At EWR 50.0 degrees were observed then, in the second of two hours that the local clock shows as one o'clock.
VALID_AT = datetime(2013, 11, 3, 6, tzinfo=UTC)
OUTCOMES = [
    predictions.landed_predictions, predictions.bronze_predictions, predictions.silver_predictions,
    predictions.prediction_outcomes,
]  # fmt: skip


def record(number: int, valid_at: datetime, value: float) -> dict[str, Any]:
    """A line of the service's log: an answered temperature with an interval of 4 degrees on each side."""
    question = HourQuestion.model_validate({"station": "EWR", "valid_at": valid_at.isoformat()})
    return {
        "prediction_id": f"prediction-{number}",
        "subject": question.subject,
        "value": value,
        "interval": {"low": value - 4, "high": value + 4, "level": 0.9},
        "model": {"name": "weather.temperature", "version": 3, "digest": "ab12"},
        "features": {},
        "missing": [],
        "as_of": (valid_at - timedelta(hours=3)).isoformat(),
        "question": question.model_dump(mode="json"),
        "columns": columns_of([question])[0],
        "feature_service": "weather.temperature_v1",
        "answered_at": "2026-01-02T03:04:05+00:00",
        "request_id": "r1",
        "traceparent": None,
    }


@pytest.fixture(scope="module")
def outcomes(make_platform: Callable[[], Platform], materialize: Materialize) -> tuple[dict[str, dict[str, Any]], Any]:
    """The rows of gold/prediction_outcomes by prediction, and the evaluation of the table's check."""
    platform = make_platform()
    land(platform.landing, start=DAY, end=DAY)
    materialize(platform, [bronze_observations, silver_observations], str(DAY))
    materialize(platform, [gold.hours])
    folder = prediction_log.folder(platform.settings, temperature_service.name)
    folder.mkdir(parents=True)
    answers = [record(1, VALID_AT, 51.5), record(2, VALID_AT, 60.0), record(3, VALID_AT + timedelta(days=9), 40.0)]
    (folder / f"{DAY}.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")
    result = materialize(platform, OUTCOMES)
    rows = platform.lakehouse.snapshot(TableId("gold", "weather", "prediction_outcomes")).arrow().to_pylist()
    [check] = [c for c in result.get_asset_check_evaluations() if c.asset_key.path[0] == "gold"]
    return {row["prediction_id"]: row for row in rows}, check


def test_a_prediction_is_joined_with_the_temperature_of_its_hour(outcomes: tuple[dict[str, Any], Any]) -> None:
    row = outcomes[0]["prediction-1"]
    assert (row["hour_id"], row["station"], row["valid_at"]) == ("EWR-2013-11-03T06Z", "EWR", VALID_AT)
    assert (row["model_name"], row["model_version"]) == ("weather.temperature", 3)
    assert (row["value"], row["interval_low"], row["interval_high"], row["interval_level"]) == (51.5, 47.5, 55.5, 0.9)
    assert (row["observed_temp"], row["error"], row["in_interval"]) == (50.0, 1.5, 1)
    assert row["as_of"] < row["valid_at"] < row["outcome_known_at"]


def test_a_temperature_outside_the_interval_counts_against_its_coverage(outcomes: tuple[dict[str, Any], Any]) -> None:
    rows, check = outcomes
    assert (rows["prediction-2"]["error"], rows["prediction-2"]["in_interval"]) == (10.0, 0)
    assert "interval_coverage saw -0.4" in str(check.description)


def test_a_prediction_without_an_outcome_yet_has_nulls(outcomes: tuple[dict[str, Any], Any]) -> None:
    row = outcomes[0]["prediction-3"]
    assert (row["hour_id"], row["value"]) == ("EWR-2013-11-12T06Z", 40.0)
    assert [row[name] for name in ("valid_at", "observed_temp", "error", "in_interval")] == [None] * 4
