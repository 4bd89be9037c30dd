"""The demo of the weather: ten months land, then a week's temperatures are predicted three hours before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from assets.weather.domain import contract, weather
from assets.weather.gold import HORIZON
from assets.weather.model import TEMPERATURE
from pipelines.governed.platform import Platform
from pipelines.landing.made_files import Landed
from pipelines.orchestration.demo_story import Days, Demo, Replay, Section

STATIONS = ("EWR", "JFK", "LGA")
OUTCOMES = contract("gold/prediction_outcomes")


def _land(platform: Platform, first: date, last: date) -> Landed:
    from assets.weather import deliveries

    return deliveries.land(platform.landing, start=first, end=last)


def _questions(instant: datetime) -> Sequence[Mapping[str, Any]]:
    """The temperature at each station three hours after the instant, which is on the hour."""
    return [{"station": station, "valid_at": (instant + HORIZON).isoformat()} for station in STATIONS]


def _sections(platform: Platform, figures: Mapping[str, Any]) -> Sequence[Section]:
    outcomes = platform.lakehouse.snapshot(OUTCOMES.table).arrow().to_pylist()
    known = [row for row in outcomes if row["in_interval"] is not None]
    if not known:
        return ()
    share = sum(row["in_interval"] for row in known) / len(known)
    level = sum(row["interval_level"] for row in known) / len(known)
    text = (
        f"{len(known):,} temperatures were predicted three hours before and observed since. {100 * share:.1f} % of "
        f"them lie in their interval, which should hold {100 * level:.0f} %."
    )
    return (Section(title="Intervals", text=text),)


DEMO = Demo(
    domain=weather,
    title="Which temperature will an airport of New York observe in three hours? Hourly weather, 2013",
    model=TEMPERATURE,
    # Trained on fewer days, the model has not seen a season like that of the gate's days, and ridge regression wins.
    days=Days(first=date(2013, 1, 1), last=date(2013, 12, 30), through=date(2013, 10, 31), minimum=240),
    deliveries={weather.name: _land},
    replay=Replay(
        questions=_questions,
        subjects="temperatures",
        outcomes=OUTCOMES,
        label="observed_temp",
        answer="value",
    ),
    sections=_sections,
)
