"""Features: the training set, as they were known at the time, and the online store, as they are known now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.weather.domain import contract, weather
from feature_repo.assets import online_asset, online_key, training_set_asset
from pipelines.features.declaration import FeatureService, feature_views
from pipelines.orchestration.automation import when_inputs_are_good

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TEMPERATURE_V1 = FeatureService(
    name="temperature_v1",
    domain=weather.name,
    views=feature_views(list(weather.contracts.values())),
    description="What is known at a station three hours before the hour whose temperature is predicted.",
    owner=weather.owner,
)


@training_set_asset(
    contract("gold/training_set"),
    TEMPERATURE_V1,
    inputs={"hours": "gold/weather/hours"},
    automation=when_inputs_are_good(),
)
def training_set(hours: DataFrame) -> DataFrame:
    """Hours whose temperature is known, with every feature as it was known three hours before."""
    return hours.where("observed_temp is not null")


online = online_asset(weather, [TEMPERATURE_V1])
ONLINE = online_key(weather.name)
