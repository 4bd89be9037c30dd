"""Features: the training set, as they were known at the time, and the online store, as they are known now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.flights.domain import contract, flights
from feature_repo.assets import online_asset, online_key, training_set_asset
from pipelines.features.declaration import FeatureService, feature_views
from pipelines.orchestration.automation import when_inputs_are_good

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ARRIVAL_DELAY_V1 = FeatureService(
    name="arrival_delay_v1",
    domain="flights",
    views=feature_views(list(flights.contracts.values())),
    description="What is known two hours before scheduled departure about a flight's chance to arrive late.",
    owner=flights.owner,
)


@training_set_asset(
    contract("gold/training_set"),
    ARRIVAL_DELAY_V1,
    inputs={"departures": "gold/flights/departures"},
    automation=when_inputs_are_good(),
)
def training_set(departures: DataFrame) -> DataFrame:
    """Flights whose outcome is known, with every feature as it was known two hours before scheduled departure."""
    return departures.where("arrived_late is not null").drop("outcome")


online = online_asset(flights, [ARRIVAL_DELAY_V1])
ONLINE = online_key(flights.name)
