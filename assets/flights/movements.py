"""Movements: departures and arrivals, pushed as they happen, and what they tell about an aircraft at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assets.flights.gold import ARRIVAL_CLIP, DEPARTURE_CLIP, TURNAROUND_MINUTES, UNKNOWN_DURATION_MINUTES
from assets.flights.tables import contract
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.medallion.push_source import OnlineMove, Values, push_source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: The features of an aircraft that a movement tells, and the one that says when it was.
_TOLD = {
    "departed": (("last_dep_delay", "ready_at_minute"), "last_departed_minute"),
    "arrived": (("last_arr_delay",), "last_arrived_minute"),
}


def aircraft_moved(known: Values | None, event: Values) -> Values:
    """The aircraft's row of gold/aircraft_history after one more movement; the same in whatever order they come.

    Departures and arrivals each count by the newest. Of two at one instant each value is the larger one.
    """
    moved_at = event["moved_at"].replace(microsecond=0)
    minute = moved_at.timestamp() / 60
    names, when = _TOLD[event["movement"]]
    features = [name for told, at in _TOLD.values() for name in (*told, at)]
    before: dict[str, Any] = {**dict.fromkeys(features), "event_timestamp": moved_at, **(known or {})}
    after = before | {"event_timestamp": max(moved_at, before["event_timestamp"])}
    if before[when] is None or minute > before[when]:
        return after | dict(zip(names, _values(event, minute), strict=True)) | {when: minute}
    if minute == before[when]:
        return after | {
            name: max(value, before[name]) for name, value in zip(names, _values(event, minute), strict=True)
        }
    return after


def _values(event: Values, minute: float) -> tuple[float, ...]:
    low, high = DEPARTURE_CLIP if event["movement"] == "departed" else ARRIVAL_CLIP
    delay = float(min(max(event["delay"], low), high))
    if event["movement"] == "arrived":
        return (delay,)
    there_and_back = 2 * (event["scheduled_duration_minutes"] or UNKNOWN_DURATION_MINUTES)
    return delay, minute + there_and_back + TURNAROUND_MINUTES


movements = push_source(
    contract("bronze/movements"),
    contract("silver/movements"),
    day="flight_date",
    online=OnlineMove("aircraft_history", key="tailnum", at="moved_at", apply=aircraft_moved),
)
SOURCES = [movements.spec]
bronze_movements = bronze_asset(movements.bronze)


@silver_asset(movements.silver)
def silver_movements(movements: DataFrame) -> DataFrame:
    """Reported departures and arrivals, each once."""
    return movements
