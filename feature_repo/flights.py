"""What the features of the flights domain mean: entities, views over gold tables, and the feature services.

Each view is one gold table; its fields are the table's contract, less the entity keys and `event_timestamp`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import FeastType, Float64, Int32, Int64, String

from pipelines.contracts import Contract, load
from pipelines.tables import TableId

CONTRACTS = Path(__file__).parent.parent / "assets" / "flights" / "contracts"
TIMESTAMP = "event_timestamp"
_TYPES: dict[str, FeastType] = {"double": Float64, "int": Int32, "bigint": Int64, "string": String}

ENTITIES = {
    "origin": Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING, description="New York airport"),
    "dest": Entity(name="dest", join_keys=["dest"], value_type=ValueType.STRING, description="Airport of arrival"),
    "carrier": Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING, description="Airline"),
    "flight": Entity(name="flight", join_keys=["flight"], value_type=ValueType.INT32, description="Flight number"),
    "tailnum": Entity(name="tailnum", join_keys=["tailnum"], value_type=ValueType.STRING, description="Aircraft"),
}


def _view(name: str) -> FeatureView:
    contract: Contract = load(CONTRACTS / f"gold_{name}.yaml")
    table: TableId = contract.table
    keys = [key for key in contract.key_columns if key != TIMESTAMP]
    fields = [
        Field(name=column.name, dtype=_TYPES[column.type], description=column.description)
        for column in contract.columns
        if column.name not in (*keys, TIMESTAMP)
    ]
    source = FileSource(name=table.source_name, path=str(table), timestamp_field=TIMESTAMP)
    return FeatureView(
        name=name,
        entities=[ENTITIES[key] for key in keys],
        schema=[*(Field(name=key, dtype=_TYPES[contract.column(key).type]) for key in keys), *fields],
        source=source,
        online=True,
        ttl=None,
        description=contract.purpose,
        owner=contract.owner,
        tags=dict(contract.tags),
    )


VIEWS = {
    name: _view(name)
    for name in (
        "origin_weather",
        "origin_delays",
        "carrier_delays",
        "destination_delays",
        "flight_history",
        "aircraft_history",
    )
}

SCHEDULE = RequestSource(
    name="schedule",
    schema=[Field(name="departure_minute", dtype=Float64)],
    description="Scheduled departure in minutes since 1970-01-01 UTC",
)


@on_demand_feature_view(
    sources=[VIEWS["aircraft_history"], SCHEDULE],
    schema=[Field(name="slack_minutes", dtype=Float64, description="From when the aircraft can be ready to departure")],
    mode="python",
)
def turnaround(inputs: dict[str, Any]) -> dict[str, Any]:
    """Minutes between the instant at which the aircraft can be ready and scheduled departure, clipped to -600, 1500."""
    slack = [
        None if ready is None or departure is None else float(min(max(departure - ready, -600.0), 1500.0))
        for ready, departure in zip(inputs["ready_at_minute"], inputs["departure_minute"], strict=True)
    ]
    return {"slack_minutes": slack}


ARRIVAL_DELAY = FeatureService(
    name="arrival_delay_v1",
    features=[*VIEWS.values(), turnaround],
    description="What is known two hours before scheduled departure about a flight's chance to arrive late.",
    owner="flight-data",
)

OBJECTS = [*ENTITIES.values(), *VIEWS.values(), turnaround, ARRIVAL_DELAY]
