"""The demo of the flights: ten months land, then a week is predicted before its flights leave."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from assets.flights.domain import contract, flights
from assets.flights.model import ARRIVAL_DELAY, GUARDS
from pipelines.governed.platform import Platform
from pipelines.landing.made_files import Landed
from pipelines.models.rollout_plan import Rollout
from pipelines.orchestration.demo_story import Days, Demo, Replay, Section

if TYPE_CHECKING:
    from assets.flights.schedule import ScheduledFlight

#: The service is asked about the flights that leave between HORIZON and HORIZON + WINDOW later.
HORIZON = timedelta(hours=2)
WINDOW = timedelta(hours=1)
LOCAL = ZoneInfo(flights.timezone)


def _land_weather(platform: Platform, first: date, last: date) -> Landed:
    from assets.weather import deliveries

    return deliveries.land(platform.landing, start=first, end=last)


def _land(platform: Platform, first: date, last: date) -> Landed:
    from assets.flights import deliveries

    database = platform.settings.root / "operations.db"
    return deliveries.land(platform.landing, start=first, end=last, database=database)


def _questions(instant: datetime) -> Sequence[Mapping[str, Any]]:
    """The flights that leave between two and three hours after the instant."""
    start, end = instant + HORIZON, instant + HORIZON + WINDOW
    scheduled = _scheduled(instant.astimezone(LOCAL).date())
    return [_request(flight) for flight in scheduled if start <= flight.scheduled_departure_at < end]


@functools.cache
def _scheduled(day: date) -> Sequence[ScheduledFlight]:
    from assets.flights.schedule import scheduled_flights

    return scheduled_flights([day])


def _request(flight: ScheduledFlight) -> dict[str, Any]:
    """A scheduled flight as a request to the service names it."""
    departure = flight.scheduled_departure_at
    minutes = flight.scheduled_duration_minutes
    return {
        "flight": f"{flight.carrier}{flight.flight}",
        "origin": flight.origin,
        "destination": flight.dest,
        "scheduled_departure": departure.astimezone(LOCAL).isoformat(),
        "scheduled_arrival": None if minutes is None else (departure + timedelta(minutes=minutes)).isoformat(),
        "tail_number": flight.tailnum,
    }


def _sections(platform: Platform, figures: Mapping[str, Any]) -> Sequence[Section]:
    replay = figures["replay"]
    if not replay["metrics"]:
        return ()
    late, probability = replay["metrics"]["positive_share"], replay["metrics"]["mean_probability"]
    text = (
        f"{replay['asked']:,} flights were predicted two hours before they left, and {replay['compared']:,} of them "
        f"arrived. {100 * late:.1f} % of these were 15 or more minutes late; the mean probability was "
        f"{100 * probability:.1f} %."
    )
    return (Section(title="The week's flights", text=text),)


DEMO = Demo(
    domain=flights,
    title="Will this flight arrive 15 or more minutes late? 336,776 flights from New York, 2013",
    model=ARRIVAL_DELAY,
    # With fewer days of training data the model seldom beats its baseline, and then no model is served.
    days=Days(first=date(2013, 1, 1), last=date(2013, 12, 31), through=date(2013, 10, 31), minimum=60),
    deliveries={"weather": _land_weather, "flights": _land},
    replay=Replay(
        questions=_questions,
        subjects="flights",
        outcomes=contract("gold/prediction_outcomes"),
        label="arrived_late",
        answer="probability",
    ),
    sections=_sections,
    # Minutes of traffic are seconds here. Without the 99th percentile, for which they bring too few answers.
    rollout=Rollout.canary(
        (0.2, 0.5),
        answers=100,
        minutes=0.02,
        maximum_minutes=3.0,
        guards=tuple(guard for guard in GUARDS if guard.metric != "latency_p99"),
        deadline_seconds=5.0,
    ),
    default=True,
)
