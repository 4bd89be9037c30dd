"""What Feast's own tests need to run against Goldpath's offline store: data sources that are tables of a home folder.

Feast's tests import this module by its name, which `run.py` sets; see there.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml
from deltalake import write_deltalake
from feast import FileSource
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage

import pipelines.definitions
from feature_repo.offline_store import LakehouseOfflineStoreConfig
from pipelines import settings
from pipelines.contracts.load import load
from pipelines.governed.platform import Platform
from pipelines.tables import TableId

DataSourceCreator: Any = importlib.import_module(
    "tests.universal.feature_repos.universal.data_source_creator"
).DataSourceCreator

#: Every table, with its contract; a table of types that no contract has gets what is read of one.
contracts: dict[TableId, Any] = {}
platform = Platform(settings.get(), lambda: contracts)
pipelines.definitions.shared_platform = functools.cache(lambda: platform)

LOGICAL = {
    "string": "string", "int": "integer", "bigint": "integer", "float": "number", "double": "number",
    "boolean": "boolean", "timestamp": "timestamp", "date": "date",
}  # fmt: skip
TAGS = {
    "cost_centre": "cc", "business_unit": "feast", "project": "feast", "application": "feast",
    "workload_class": "ingestion", "data_class": "internal",
}  # fmt: skip
#: The datasets that Feast's tests save: view, feature, type.
SAVED = (
    ("customer_profile", "current_balance", "float"), ("customer_profile", "avg_passenger_count", "float"),
    ("customer_profile", "lifetime_trip_count", "int"), ("order", "order_is_success", "int"),
    ("global_stats", "num_rides", "int"), ("global_stats", "avg_ride_length", "float"),
    ("field_mapping", "feature_name", "int"),
)  # fmt: skip
#: The features that they log.
LOGGED = (
    ("driver_stats__conv_rate", "float"), ("driver_stats__avg_daily_trips", "int"),
    ("conv_rate_plus_100__conv_rate_plus_val_to_add", "double"),
    ("conv_rate_plus_100__conv_rate_plus_100_rounded", "int"),
)  # fmt: skip


def declare(table: TableId, types: Mapping[str, str]) -> None:
    """Declares a table by a contract."""
    columns = [
        {"name": name, "logicalType": LOGICAL[type_], "description": name}
        | ({"physicalType": type_} if LOGICAL[type_] in ("integer", "number") else {})
        for name, type_ in types.items()
    ]
    document = {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": table.source_name, "version": "1.0.0",
        "status": "active", "domain": "universal", "description": {"purpose": "Of Feast's tests."},
        "team": {"name": "feast"},
        "servers": [{"server": "landing", "type": "local", "path": "none/dt=*/*", "format": "csv"}],
        "schema": [{"name": table.table, "physicalName": str(table), "dataGranularityDescription": "One row.",
                    "properties": columns}],
        "slaProperties": [{"property": "freshness", "value": 1, "unit": "d"},
                          {"property": "retention", "value": 1, "unit": "y"}],
        "customProperties": [
            {"property": "tags", "value": TAGS},
            {"property": "drift", "value": {"tables": "freeze", "columns": "freeze", "data_type": "freeze"}},
        ],
    }  # fmt: skip
    path = Path(platform.settings.root) / f"{table.source_name}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    contracts[table] = load(path)


def publish(table: TableId, rows: pd.DataFrame) -> None:
    """Writes rows as the next version of a table; a time without a zone is in UTC."""
    naive = [name for name in rows if pd.api.types.is_datetime64_dtype(rows[name])]
    arrow = pa.Table.from_pandas(rows.assign(**{name: rows[name].dt.tz_localize("UTC") for name in naive}))
    write_deltalake(platform.lakehouse.path(table), arrow, mode="overwrite", schema_mode="overwrite")
    types = dict(platform.lakehouse.read(platform.lakehouse.current(table)).dtypes)
    if types.keys() and set(types.values()) <= LOGICAL.keys():
        declare(table, types)
        return
    columns = [
        SimpleNamespace(name=name, type=type_, classification=None, description="") for name, type_ in types.items()
    ]
    contracts[table] = SimpleNamespace(columns=columns, tags=TAGS, owner="feast", data_class=lambda name: "internal")


class GoldpathSourceCreator(DataSourceCreator):
    """Data sources of Feast's tests as gold tables."""

    def __init__(self, project_name: str, *args: Any, fixture_request: Any, **kwargs: Any) -> None:
        super().__init__(project_name)
        self.parameters = fixture_request.node.callspec.params

    def table(self, name: str) -> TableId:
        return TableId("gold", "universal", f"{self.project_name}_{name}".replace(".", "_"))

    def create_data_source(
        self,
        df: pd.DataFrame,
        destination_name: str,
        created_timestamp_column: str | None = "created_ts",
        field_mapping: Mapping[str, str] | None = None,
        timestamp_field: str | None = "ts",
    ) -> FileSource:
        table = self.table(destination_name)
        publish(table, df)
        source: Any = FileSource(
            path=str(table),
            timestamp_field=timestamp_field,
            created_timestamp_column=created_timestamp_column,
            field_mapping=dict(field_mapping or {"ts_1": "ts"}),
        )
        source.table = table.source_name  # as queries of entity rows name it
        return source

    def create_offline_store_config(self) -> LakehouseOfflineStoreConfig:
        return LakehouseOfflineStoreConfig()

    def create_saved_dataset_destination(self) -> SavedDatasetFileStorage:
        full, table = self.parameters.get("full_feature_names", False), self.table("saved")
        features = {f"{view}__{name}" if full else name: type_ for view, name, type_ in SAVED}
        declare(table, {"event_timestamp": "timestamp", "driver_id": "bigint", "customer_id": "bigint", **features})
        return SavedDatasetFileStorage(path=str(table))

    def create_logged_features_destination(self) -> FileLoggingDestination:
        table = self.table("logged")
        features = {f"{name}{end}": type_ for name, value in LOGGED for end, type_ in (
            ("", value), ("__timestamp", "timestamp"), ("__status", "int"))}  # fmt: skip
        system = {"__log_timestamp": "timestamp", "__log_date": "date", "__request_id": "string"}
        declare(table, {"driver_id": "bigint", "val_to_add": "int", **features, **system})
        return FileLoggingDestination(path=str(table))

    def teardown(self) -> None:
        """Each run has a home folder of its own."""


AVAILABLE_OFFLINE_STORES = [("local", GoldpathSourceCreator)]
AVAILABLE_ONLINE_STORES = {"sqlite": ({"type": "sqlite"}, None)}
# The tests of this one name are for stores that read and keep what a path names, as ours does.
sys.modules["tests.universal.feature_repos.repo_configuration"].OFFLINE_STORE_TO_PROVIDER_CONFIG["file"] = (  # type: ignore[attr-defined]
    AVAILABLE_OFFLINE_STORES[0]
)
