"""Which questions are valid, and that their columns are computed as those of the gold table."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from assets.flights.service import FlightQuestion
from tests.serving.conftest import QUESTION


def _question(**changes: Any) -> FlightQuestion:
    return FlightQuestion.model_validate(QUESTION | changes)


def test_columns_are_computed_from_the_schedule_in_new_york_time() -> None:
    assert _question().columns() == {
        "carrier": "UA",
        "flight": 1545,
        "origin": "EWR",
        "dest": "IAH",
        "tailnum": "N14228",
        "scheduled_minute": 5 * 60 + 15,
        "day_of_week": 4,
        "scheduled_duration_minutes": 254,
        "departure_minute": 1383297300 / 60,
    }


@pytest.mark.parametrize("departure", ["2013-11-01T09:15:00Z", "2013-11-01T11:15:00+02:00"])
def test_the_same_instant_with_another_offset_is_the_same_question(departure: str) -> None:
    assert _question(scheduled_departure=departure) == _question()


def test_a_flight_belongs_to_the_local_day_of_its_departure() -> None:
    question = _question(scheduled_departure="2013-11-02T02:30:00Z", scheduled_arrival=None)
    assert question.subject == "2013-11-01-UA-1545-EWR"
    assert question.columns()["scheduled_minute"] == 22 * 60 + 30


def test_minutes_are_local_before_and_after_the_end_of_daylight_saving_time() -> None:
    summer = _question(scheduled_departure="2013-11-02T23:00:00Z", scheduled_arrival=None)
    winter = _question(scheduled_departure="2013-11-03T23:00:00Z", scheduled_arrival=None)
    assert (summer.columns()["scheduled_minute"], winter.columns()["scheduled_minute"]) == (19 * 60, 18 * 60)


def test_a_number_with_leading_zeros_and_a_carrier_with_a_digit_are_valid() -> None:
    assert (_question(flight="9E0042").carrier, _question(flight="9E0042").number) == ("9E", 42)


def test_optional_fields_may_be_absent() -> None:
    columns = FlightQuestion.model_validate(
        {name: QUESTION[name] for name in ("flight", "origin", "destination", "scheduled_departure")}
    ).columns()
    assert (columns["tailnum"], columns["scheduled_duration_minutes"]) == (None, None)


@pytest.mark.parametrize("flight", ["UA", "1545", "UA0", "UA15450", "UAL1545", "ua1545", "UA 1545", "121545"])
def test_a_flight_that_is_no_carrier_and_number_is_refused(flight: str) -> None:
    with pytest.raises(ValidationError):
        _question(flight=flight)
