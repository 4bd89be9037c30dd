"""A question about a temperature names one hour, and its columns are those of the table that the model was trained on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from assets.weather.domain import contract
from assets.weather.seasons import CYCLES
from assets.weather.service import HourQuestion
from pipelines.models.question import columns_of

VALID_AT = datetime(2013, 11, 3, 5, tzinfo=UTC)


def question(valid_at: str = "2013-11-03T01:00:00-04:00", station: str = "EWR") -> HourQuestion:
    return HourQuestion.model_validate({"station": station, "valid_at": valid_at})


def test_the_subject_is_the_key_of_the_hour_in_utc() -> None:
    """On that night the clocks show one o'clock twice, an hour apart."""
    assert question().subject == "EWR-2013-11-03T05Z"
    assert question("2013-11-03T01:00:00-05:00").subject == "EWR-2013-11-03T06Z"


def test_the_columns_of_a_question_are_columns_of_the_training_set() -> None:
    [columns] = columns_of([question()])
    assert columns["station"] == "EWR"
    assert columns.keys() > CYCLES.outputs.keys()
    assert set(columns) < {column.name for column in contract("gold/training_set").columns}


@pytest.mark.parametrize("valid_at", ["2013-11-03T05:30:00Z", "2013-11-03T05:00:01Z", "2013-11-03T05:00:00", "soon"])
def test_an_instant_that_is_no_hour_is_refused(valid_at: str) -> None:
    with pytest.raises(ValidationError):
        question(valid_at)


@pytest.mark.parametrize("minutes", [0, 1, 30, 59])
def test_at_any_time_one_hour_can_be_asked_for(minutes: int) -> None:
    asked_at = VALID_AT - timedelta(hours=2, minutes=60 - minutes)
    hours = [VALID_AT + timedelta(hours=n) for n in range(-4, 5)]
    answered = [hour for hour in hours if question(hour.isoformat()).wrong_time(asked_at) is None]
    assert answered == [VALID_AT]
