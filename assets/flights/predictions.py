"""Predictions are data like any other: logged, landed, typed, and met with their outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from assets.flights.tables import OWNER, contract, cost_tags
from pipelines.governed import GovernedRun, Written, governed_asset
from pipelines.lineage import Dataset
from pipelines.log_delivery import deliver_log
from pipelines.table_assets import bronze_asset, gold_asset, silver_asset

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@governed_asset(
    key=("landing", "flights", "predictions"),
    kind="serving",
    owner=OWNER,
    tags=cost_tags("serving"),
    kinds=("json",),
    deps=[("serving", "flights", "arrival_delay")],
)
def landed_predictions(run: GovernedRun) -> Iterator[Written]:
    """What the prediction service has logged since the last delivery. Grain: one line per prediction."""
    log = run.platform.settings.root / "serving" / "predictions"
    rows = deliver_log(run.platform.landing, log, domain="flights", source="predictions")
    yield Written(Dataset("landing/flights/predictions", run.run_id, OWNER, rows=rows))


bronze_predictions = bronze_asset(contract("bronze/predictions"))


@silver_asset(contract("silver/predictions"), delivery="increment")
def silver_predictions(predictions: DataFrame) -> DataFrame:
    """Every answer of the prediction service."""
    from pyspark.sql import functions as F

    parts = {f"model_{name}": F.get_json_object("model", f"$.{name}") for name in ("name", "version", "digest")}
    return predictions.withColumns(parts | {"model_version": parts["model_version"].try_cast("bigint")})


@gold_asset(
    contract("gold/prediction_outcomes"),
    inputs={"predictions": "silver/flights/predictions", "departures": "gold/flights/departures"},
)
def prediction_outcomes(predictions: DataFrame, departures: DataFrame) -> DataFrame:
    """What was predicted about a flight, and what happened."""
    outcomes = departures.select("flight_id", "outcome", "outcome_known_at", "arrived_late")
    return predictions.join(outcomes, "flight_id", "left")
