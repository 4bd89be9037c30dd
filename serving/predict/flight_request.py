"""A question in the terms of an airline, and the model's columns that follow from it without a feature store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

MAX_FLIGHTS = 1000
MIN_DURATION_MINUTES, MAX_DURATION_MINUTES = 20, 1200
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
#: The time zone of the airports of departure, in which flights are scheduled and features were computed.
LOCAL = ZoneInfo("America/New_York")

Column = str | int | float | None


def _with_offset(value: object) -> datetime:
    """The instant of an ISO 8601 text, UTC; refuses a text without offset, which names no instant."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is not ISO 8601") from None
    if instant.tzinfo is None:
        raise ValueError("has no offset")
    if not EARLIEST <= instant < LATEST:
        raise ValueError("lies outside the years 2000 to 2099")
    return instant.astimezone(UTC)


Instant = Annotated[datetime, BeforeValidator(_with_offset)]
_INSTANT = "an ISO 8601 instant with its offset, such as 2013-11-01T05:15:00-04:00"


class FlightQuestion(BaseModel):
    """Will this flight arrive 15 or more minutes late?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flight: str = Field(
        pattern=r"^([A-Z][A-Z0-9]|[0-9][A-Z])0{0,3}[1-9][0-9]{0,3}$",
        max_length=6,
        description="carrier code of two characters and a number from 1 to 9999, such as UA1545",
    )
    origin: str = Field(pattern=r"^[A-Z0-9]{3}$", description="airport code of three characters, such as EWR")
    destination: str = Field(
        pattern=r"^[A-Z0-9]{3}$", description="airport code of three characters other than the origin, such as IAH"
    )
    scheduled_departure: Instant = Field(description=_INSTANT)
    scheduled_arrival: Instant | None = Field(
        None,
        description=f"{_INSTANT}, {MIN_DURATION_MINUTES} to {MAX_DURATION_MINUTES} minutes after departure; or null",
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
    def flight_id(self) -> str:
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


class FlightBatch(BaseModel):
    """Several flights, answered together or not at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flights: list[FlightQuestion] = Field(
        min_length=1, max_length=MAX_FLIGHTS, description=f"a list of 1 to {MAX_FLIGHTS} flights"
    )


def _minutes(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() / 60)
