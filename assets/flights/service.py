"""The service that predicts late arrivals: a question in the terms of an airline, and the model that answers it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationInfo, field_validator

from assets.flights.model import ARRIVAL_DELAY
from pipelines.models.question import INSTANT, Column, Instant, Question
from pipelines.models.service import Decision, ServiceSpec
from pipelines.orchestration.automation import every_night
from pipelines.rollout.assets import service_asset
from pipelines.rollout.nightly import shadow_asset
from serving.runtimes import PREDICTION

MIN_DURATION_MINUTES, MAX_DURATION_MINUTES = 20, 1200
#: The time zone of the airports of departure, in which flights are scheduled and features were computed.
LOCAL = ZoneInfo("America/New_York")


class FlightQuestion(Question):
    """Will this flight arrive 15 or more minutes late?"""

    #: Airlines publish their schedules about a year ahead: `lead` is the usual one.
    about: ClassVar[str] = "scheduled_departure"
    nobody: ClassVar[dict[str, object]] = {
        "flight": "0Z9999",
        "origin": "000",
        "destination": "001",
        "scheduled_departure": "2000-01-01T00:00:00+00:00",
    }

    flight: str = Field(
        pattern=r"^([A-Z][A-Z0-9]|[0-9][A-Z])0{0,3}[1-9][0-9]{0,3}$",
        max_length=6,
        description="carrier code of two characters and a number from 1 to 9999, such as UA1545",
    )
    origin: str = Field(pattern=r"^[A-Z0-9]{3}$", description="airport code of three characters, such as EWR")
    destination: str = Field(
        pattern=r"^[A-Z0-9]{3}$", description="airport code of three characters other than the origin, such as IAH"
    )
    scheduled_departure: Instant = Field(description=INSTANT)
    scheduled_arrival: Instant | None = Field(
        None,
        description=f"{INSTANT}, {MIN_DURATION_MINUTES} to {MAX_DURATION_MINUTES} minutes after departure; or null",
    )
    tail_number: str | None = Field(
        None, pattern=r"^[A-Z0-9-]{2,8}$", description="registration of the aircraft, such as N14228; or null"
    )

    @field_validator("destination")
    @classmethod
    def _elsewhere(cls, destination: str, others: ValidationInfo) -> str:
        if destination == others.data.get("origin"):
            raise ValueError("is the origin")
        return destination

    @field_validator("scheduled_arrival")
    @classmethod
    def _after_departure(cls, arrival: datetime | None, others: ValidationInfo) -> datetime | None:
        departure = others.data.get("scheduled_departure")
        if arrival is not None and departure is not None:
            minutes = _minutes(departure, arrival)
            if not MIN_DURATION_MINUTES <= minutes <= MAX_DURATION_MINUTES:
                raise ValueError(f"is {minutes} minutes after departure")
        return arrival

    @property
    def carrier(self) -> str:
        return self.flight[:2]

    @property
    def number(self) -> int:
        return int(self.flight[2:])

    @property
    def subject(self) -> str:
        """The key of gold/flights/departures: local date, carrier, number and origin."""
        day = self.scheduled_departure.astimezone(LOCAL).date()
        return f"{day}-{self.carrier}-{self.number}-{self.origin}"

    def columns(self) -> dict[str, Column]:
        """The columns of the schedule, named and computed as in gold/flights/departures.

        `scheduled_minute` is the local minute of the day, `day_of_week` the local weekday with Monday 0,
        `departure_minute` the minutes since 1970-01-01 UTC.
        """
        local = self.scheduled_departure.astimezone(LOCAL)
        arrival = self.scheduled_arrival
        return {
            "carrier": self.carrier,
            "flight": self.number,
            "origin": self.origin,
            "dest": self.destination,
            "tailnum": self.tail_number,
            "scheduled_minute": local.hour * 60 + local.minute,
            "day_of_week": local.weekday(),
            "scheduled_duration_minutes": _minutes(self.scheduled_departure, arrival) if arrival else None,
            "departure_minute": self.scheduled_departure.timestamp() / 60,
        }


def _minutes(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() / 60)


arrival_delay_service = ServiceSpec(ARRIVAL_DELAY, FlightQuestion, PREDICTION, Decision("late", "on_time"))
served = service_asset(arrival_delay_service)
shadow = shadow_asset(arrival_delay_service, automation=every_night())
