"""Predictions as tables: the service logs them, they land, are typed and joined with what was observed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets.weather.domain import contract
from assets.weather.model import TEMPERATURE
from pipelines.medallion.decorators import bronze_asset, gold_asset, silver_asset
from pipelines.medallion.landing_assets import landing_asset
from pipelines.sources.logs import LogFiles

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

landed_predictions = landing_asset(
    contract("bronze/predictions"),
    LogFiles(Path("serving/predictions") / TEMPERATURE.registered_name, "*.jsonl"),
    deps=[TEMPERATURE.key("serving")],
)
bronze_predictions = bronze_asset(contract("bronze/predictions"))


@silver_asset(contract("silver/predictions"))
def silver_predictions(predictions: DataFrame) -> DataFrame:
    """Every prediction that the service returned."""
    from pyspark.sql import functions as F

    def member(column: str, name: str, kind: str) -> tuple[str, F.Column]:
        return f"{column}_{name}", F.get_json_object(column, f"$.{name}").try_cast(kind)

    models = [
        member("model", name, kind) for name, kind in (("name", "string"), ("version", "bigint"), ("digest", "string"))
    ]
    interval = [member("interval", name, "double") for name in ("low", "high", "level")]
    return predictions.withColumns(dict(models + interval))


@gold_asset(
    contract("gold/prediction_outcomes"),
    inputs={"predictions": "silver/weather/predictions", "hours": "gold/weather/hours"},
)
def prediction_outcomes(predictions: DataFrame, hours: DataFrame) -> DataFrame:
    """Each prediction with the temperature that was observed."""
    from pyspark.sql import functions as F

    outcomes = hours.select("hour_id", "station", "valid_at", "outcome_known_at", "observed_temp")
    within = F.col("observed_temp").between(F.col("interval_low"), F.col("interval_high"))
    return predictions.join(outcomes, "hour_id", "left").withColumns(
        {"error": F.col("value") - F.col("observed_temp"), "in_interval": within.cast("int")}
    )
