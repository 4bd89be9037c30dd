"""A feature table of any size for the measurements of the online stores, and stock Feast over the same file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.features.declaration import FeatureService, feature_view

if TYPE_CHECKING:
    from feature_repo.feast_api import FeatureStore

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
AS_OF = BEGIN + timedelta(days=3)
DOMAIN, VIEW = "toys", "stock"
ROWS_PER_FILE_PART = 50_000


def entity(number: int) -> str:
    """The key of an entity."""
    return f"item-{number:07d}"


def kinds(features: int) -> dict[str, str]:
    """Each feature and its type: numbers of both kinds by turns."""
    return {f"f{place}": ("double", "bigint")[place % 2] for place in range(features)}


def write(path: Path, entities: int, features: int) -> None:
    """Two rows for each entity, a day apart, in a Parquet file; one value in twenty is null."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random, writer = np.random.default_rng(7), None
    for day in range(2):
        order = random.permutation(entities)
        for start in range(0, entities, ROWS_PER_FILE_PART):
            numbers = order[start : start + ROWS_PER_FILE_PART]
            seconds = random.integers(0, 86_400, len(numbers))
            at = np.datetime64(BEGIN.replace(tzinfo=None), "us") + (day * 86_400 + seconds) * np.timedelta64(1, "s")
            columns: dict[str, Any] = {"item": [entity(number) for number in numbers]}
            for name, kind in kinds(features).items():
                values = random.random(len(numbers)) * 1e6
                null = random.random(len(numbers)) < 0.05
                columns[name] = pa.array(values if kind == "double" else values.astype(np.int64), mask=null)
            table = pa.table(columns | {"event_timestamp": pa.array(at, pa.timestamp("us", "UTC"))})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    assert writer is not None
    writer.close()


def service(folder: Path, features: int) -> FeatureService:
    """The declaration of the file's rows as features."""
    from pipelines.contracts.load import load
    from tests.pipelines import toy_contracts

    logical = {"double": "number", "bigint": "integer"}
    columns: list[dict[str, Any]] = [
        {"name": "item", "logicalType": "string", "primaryKey": True, "primaryKeyPosition": 1, "required": True},
        {"name": "event_timestamp", "logicalType": "timestamp", "primaryKey": True, "primaryKeyPosition": 2,
         "required": True},
        *({"name": name, "logicalType": logical[kind], "physicalType": kind} for name, kind in kinds(features).items()),
    ]  # fmt: skip
    columns = [column | {"description": column["name"]} for column in columns]
    contract = load(toy_contracts.write(folder, toy_contracts.document(f"gold/{DOMAIN}/{VIEW}", columns)))
    return FeatureService("stock_v1", DOMAIN, (feature_view(contract),), "What is in stock.", "toy-data")


def stock_feast(folder: Path, path: Path, features: int, redis: str | None) -> FeatureStore:
    """Feast as it comes, with its file offline store on the Parquet file and its own SQLite or Redis store."""
    from feature_repo import feast_api as feast
    from feature_repo.objects import TYPES

    online = {"type": "redis", "connection_string": redis} if redis else {"type": "sqlite", "path": "online.db"}
    config = feast.RepoConfig(
        project=f"{DOMAIN}_{features}",  # several sizes may share one server
        provider="local",
        registry=str(folder / "registry.db"),
        online_store=online,
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    item = feast.Entity(name="item", join_keys=["item"], value_type=feast.ValueType.STRING)
    view = feast.FeatureView(
        name=VIEW,
        entities=[item],
        schema=[
            feast.Field(name=name, dtype=TYPES[kind]) for name, kind in ({"item": "string"} | kinds(features)).items()
        ],
        source=feast.FileSource(name=VIEW, path=str(path), timestamp_field="event_timestamp"),
    )
    store = feast.FeatureStore(config=config)
    store.apply([item, view, feast.FeatureService(name="stock_v1", features=[view])])
    return store
