"""Movements: departures and arrivals that are pushed as they happen, and the aircraft's features that they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assets.flights.domain import contract
from assets.flights.gold import ARRIVAL_CLIP, DEPARTURE_CLIP, TURNAROUND_MINUTES, UNKNOWN_DURATION_MINUTES
from pipelines.features.declaration import feature_view
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.medallion.push_source import OnlineMove, Values, push_source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: For each movement the features of an aircraft that it sets, and the feature that holds its minute.
FEATURES = {
    "departed": (("last_dep_delay", "ready_at_minute"), "last_departed_minute"),
    "arrived": (("last_arr_delay",), "last_arrived_minute"),
}


def aircraft_moved(known: Values | None, event: Values) -> Values:
    """The aircraft's row of gold/aircraft_history after one more movement; movements may come in any order.

    The newest departure and the newest arrival count. Of two at one instant each feature takes the larger value.

    Args:
        known: The row before; None for an aircraft that was not seen.
        event: A row of silver/movements.
    """
    moved_at = event["moved_at"].replace(microsecond=0)
    minute = moved_at.timestamp() / 60
    names, minute_name = FEATURES[event["movement"]]
    all_features = [name for features, at in FEATURES.values() for name in (*features, at)]
    before: dict[str, Any] = {**dict.fromkeys(all_features), "event_timestamp": moved_at, **(known or {})}
    after = before | {"event_timestamp": max(moved_at, before["event_timestamp"])}
    values = dict(zip(names, _values(event, minute), strict=True))
    if before[minute_name] is None or minute > before[minute_name]:
        return after | values | {minute_name: minute}
    if minute == before[minute_name]:
        return after | {name: max(value, before[name]) for name, value in values.items()}
    return after


def _values(event: Values, minute: float) -> tuple[float, ...]:
    """The values of the features that a movement sets; `minute` is its instant in minutes since 1970."""
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
    online=OnlineMove(
        feature_view(contract("gold/aircraft_history")), key="tailnum", at="moved_at", apply=aircraft_moved
    ),
)
SOURCES = [movements.spec]
bronze_movements = bronze_asset(movements.bronze)


@silver_asset(movements.silver)
def silver_movements(movements: DataFrame) -> DataFrame:
    """Reported departures and arrivals, each once."""
    return movements
