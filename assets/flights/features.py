"""Features: the training set, as they were known at the time, and the online store, as they are known now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets.flights.domain import contract, flights
from pipelines import clock
from pipelines.features.declaration import FeatureService, feature_views
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.medallion.decorators import gold_asset
from pipelines.orchestration.automation import when_inputs_are_good
from pipelines.tables import RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ARRIVAL_DELAY_V1 = FeatureService(
    name="arrival_delay_v1",
    domain="flights",
    views=feature_views(list(flights.contracts.values())),
    description="What is known two hours before scheduled departure about a flight's chance to arrive late.",
    owner=flights.owner,
)
BEGINNING = datetime(2013, 1, 1, tzinfo=UTC)
ONLINE = ("features", "flights", "online")


@gold_asset(
    contract("gold/training_set"),
    inputs={"departures": "gold/flights/departures", **ARRIVAL_DELAY_V1.tables},
    automation=when_inputs_are_good(),
)
def training_set(departures: DataFrame, **feature_tables: DataFrame) -> DataFrame:
    """Flights whose outcome is known, with every feature as it was known two hours before scheduled departure."""
    from feature_repo.flights import OBJECTS
    from feature_repo.store import historical

    spine = departures.where("arrived_late is not null").drop("outcome")
    columns = [column.name for column in contract("gold/training_set").columns]
    return historical(OBJECTS, ARRIVAL_DELAY_V1.name, spine, feature_tables).select(*columns, RECORD_ID)


class OnlineConfig(dg.Config):
    """The instant up to which features are known."""

    as_of: str = ""
    """ISO 8601 with its offset; empty takes the platform's clock."""


@governed_asset(
    key=ONLINE,
    kind="features",
    owner=flights.owner,
    tags=flights.cost.of("features"),
    kinds=("feast", "sqlite"),
    inputs=ARRIVAL_DELAY_V1.tables,
    config=OnlineConfig,
    freshness=timedelta(days=2),
    automation=when_inputs_are_good(),
)
def online(run: GovernedRun, config: OnlineConfig) -> Iterator[Written]:
    """The online store: for each airport, carrier, flight number and aircraft the features as they are known now.

    A run moves it to the platform's clock or to the instant of its config. Grain: one row per entity and feature view.
    """
    from feature_repo.flights import OBJECTS
    from feature_repo.store import materialize

    now = run.platform.now()
    as_of = clock.known_at(config.as_of, now=now, of="config as_of") if config.as_of else now
    tables = {name: run.input(name) for name in ARRIVAL_DELAY_V1.tables}
    state = materialize(run.platform.settings, OBJECTS, tables, as_of=as_of, beginning=BEGINNING)
    dataset = Dataset("/".join(ONLINE), state.as_of.isoformat(), flights.owner, rows=sum(state.rows.values()))
    rows = dg.MetadataValue.json(dict(state.rows))
    yield Written(dataset, {"as_of": state.as_of.isoformat(), "rows_by_view": rows, "rebuilt": state.rebuilt})
