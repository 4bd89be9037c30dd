"""What the features of the flights domain mean: entities, views over gold tables, and the feature services.

Each view is one gold table; its fields are the table's contract, less the entity keys and `event_timestamp`.
"""

from __future__ import annotations

from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
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

ARRIVAL_DELAY = FeatureService(
    name="arrival_delay_v1",
    features=list(VIEWS.values()),
    description="What is known two hours before scheduled departure about a flight's chance to arrive late.",
    owner="flight-data",
)

OBJECTS = [*ENTITIES.values(), *VIEWS.values(), ARRIVAL_DELAY]
