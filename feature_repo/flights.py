"""The Feast declarations of the flights domain: entities, views over gold tables, feature services.

Each view is one gold table; its fields are the columns of the table's contract without the entity keys and
`event_timestamp`.
"""

from __future__ import annotations

from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import FeastType, Float64, Int32, Int64, String

from pipelines.contracts.load import load_folder
from pipelines.contracts.model import Contract

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


def _view(contract: Contract) -> FeatureView:
    """The view of a gold table."""
    table = contract.table
    keys = [key for key in contract.key_columns if key != TIMESTAMP]
    fields = [
        Field(name=column.name, dtype=_TYPES[column.type], description=column.description)
        for column in contract.columns
        if column.name not in (*keys, TIMESTAMP)
    ]
    source = FileSource(name=table.source_name, path=str(table), timestamp_field=TIMESTAMP)
    return FeatureView(
        name=table.table,
        entities=[ENTITIES[key] for key in keys],
        schema=[*(Field(name=key, dtype=_TYPES[contract.column(key).type]) for key in keys), *fields],
        source=source,
        online=True,
        ttl=None,
        description=contract.purpose,
        owner=contract.owner,
        tags=dict(contract.tags),
    )


#: The views by table name: one for each gold table whose key holds `event_timestamp`.
VIEWS = {
    contract.table.table: _view(contract)
    for contract in load_folder(CONTRACTS).values()
    if contract.table.zone == "gold" and TIMESTAMP in contract.key_columns
}

ARRIVAL_DELAY = FeatureService(
    name="arrival_delay_v1",
    features=list(VIEWS.values()),
    description="What is known two hours before scheduled departure about a flight's chance to arrive late.",
    owner="flight-data",
)

OBJECTS = [*ENTITIES.values(), *VIEWS.values(), ARRIVAL_DELAY]
