"""Predictions as tables: the service logs them, they land, are typed and joined with the outcomes of their flights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets.flights.domain import contract
from assets.flights.model import ARRIVAL_DELAY
from pipelines.medallion.decorators import bronze_asset, gold_asset, silver_asset
from pipelines.medallion.landing_assets import landing_asset
from pipelines.sources.logs import LogFiles

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


landed_predictions = landing_asset(
    contract("bronze/predictions"),
    LogFiles(Path("serving/predictions") / ARRIVAL_DELAY.registered_name, "*.jsonl"),
    deps=[ARRIVAL_DELAY.key("serving")],
)
bronze_predictions = bronze_asset(contract("bronze/predictions"))


@silver_asset(contract("silver/predictions"))
def silver_predictions(predictions: DataFrame) -> DataFrame:
    """Every prediction that the service returned."""
    from pyspark.sql import functions as F

    parts = {f"model_{name}": F.get_json_object("model", f"$.{name}") for name in ("name", "version", "digest")}
    return predictions.withColumns(parts | {"model_version": parts["model_version"].try_cast("bigint")})


@gold_asset(
    contract("gold/prediction_outcomes"),
    inputs={"predictions": "silver/flights/predictions", "departures": "gold/flights/departures"},
)
def prediction_outcomes(predictions: DataFrame, departures: DataFrame) -> DataFrame:
    """Each prediction with the outcome of its flight."""
    outcomes = departures.select("flight_id", "outcome", "outcome_known_at", "arrived_late")
    return predictions.join(outcomes, "flight_id", "left")
