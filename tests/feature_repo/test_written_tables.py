"""What Feast's tools write: saved datasets, rows of a view and logs, as gold tables by governed runs, or refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from feast.data_source import PushMode, PushSource
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination

from feature_repo.feast_api import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Int64,
    SavedDatasetFileStorage,
    SavedDatasetLocationAlreadyExists,
    ValueType,
)
from feature_repo.written_tables import append
from pipelines.cost.focus import COSTS
from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError, NotFoundError, SettingsError, VerdictError
from pipelines.governed.platform import Platform
from pipelines.medallion.gold import Derivation, derivations
from pipelines.tables import TableId
from tests.feature_repo.toy_feast import bigint, declare, timestamp, toy_platform, toy_store
from tests.pipelines import toy_contracts

BEGIN = datetime(2013, 3, 10, tzinfo=UTC)
STATS, SAVED = TableId("gold", "toys", "stats"), TableId("gold", "toys", "saved")
pytestmark = pytest.mark.filterwarnings("ignore:.*experimental feature:RuntimeWarning")


def at(hours: float) -> datetime:
    return BEGIN + timedelta(hours=hours)


def real(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": "number", "physicalType": "float", "description": name, **more}


@pytest.fixture
def platform(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A home folder with a feature table that no asset computes, and one that one does, `derived`."""
    found = toy_platform(engine, tmp_path, monkeypatch)
    key = {"primaryKey": True, "required": True}
    keys = [bigint("driver", primaryKeyPosition=1, **key), timestamp("event_timestamp", primaryKeyPosition=2, **key)]
    for name in ("stats", "derived"):
        declare(found, tmp_path, f"gold/toys/{name}", [*keys, bigint("trips"), real("rating")])
    rows = {"driver": [1, 2], "event_timestamp": pa.array([at(1)] * 2, pa.timestamp("us", "UTC")), "trips": [10, None]}
    rows["rating"] = pa.array([0.5, 1.5], pa.float32())
    for name in ("stats", "derived"):
        write_deltalake(found.lakehouse.path(TableId("gold", "toys", name)), pa.table(rows))
    derived = TableId("gold", "toys", "derived")
    inputs = {"rides": TableId("silver", "toys", "rides")}
    monkeypatch.setitem(derivations, derived, Derivation(found.contracts[derived], inputs, lambda rides: rides))
    return found


@pytest.fixture
def store(platform: Platform, tmp_path: Path) -> FeatureStore:
    feast = toy_store(tmp_path)
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    fields = [Field(name="trips", dtype=Int64), Field(name="rating", dtype=Float32)]
    objects: list[Any] = [driver]
    for name in ("stats", "derived"):
        source = FileSource(name=name, path=f"gold/toys/{name}", timestamp_field="event_timestamp")
        objects.append(FeatureView(name=f"toys.{name}", entities=[driver], schema=fields, source=source))
    pushed = PushSource(
        name="pushed", batch_source=source.__class__(name="stats", path=str(STATS), timestamp_field="event_timestamp")
    )
    objects.append(FeatureView(name="pushed_stats", entities=[driver], schema=fields, source=pushed))
    feast.apply(objects)
    return feast


def asked(*rows: tuple[int, float]) -> pd.DataFrame:
    return pd.DataFrame({"driver": [key for key, _ in rows], "event_timestamp": [at(hours) for _, hours in rows]})


def declare_saved(platform: Platform, folder: Path, *features: dict[str, Any], **more: Any) -> SavedDatasetFileStorage:
    key = {"primaryKey": True, "required": True}
    keys = [bigint("driver", primaryKeyPosition=1, **key), timestamp("event_timestamp", primaryKeyPosition=2, **key)]
    declare(platform, folder, str(SAVED), [*keys, *features], **more)
    return SavedDatasetFileStorage(path=str(SAVED))


def stats(*rows: tuple[int, float, int | None, float]) -> pd.DataFrame:
    trips = pd.array([row[2] for row in rows], dtype="Int64")
    rating = pd.array([row[3] for row in rows], dtype="float32")
    return asked(*[row[:2] for row in rows]).assign(trips=trips, rating=rating)


def test_a_saved_dataset_is_a_table_with_the_rows_that_were_asked_for(
    store: FeatureStore, platform: Platform, tmp_path: Path
) -> None:
    storage = declare_saved(platform, tmp_path, bigint("toys_stats__trips"), real("toys_stats__rating"))
    features = ["toys.stats:trips", "toys.stats:rating"]
    job = store.get_historical_features(asked((1, 2), (2, 0.5), (3, 3)), features, full_feature_names=True)
    store.create_saved_dataset(job, "march", storage)
    saved = store.get_saved_dataset("march").to_arrow()
    assert {*saved.column_names} == {*job.to_arrow().column_names}
    rows = {row["driver"]: row for row in saved.to_pylist()}
    trips, rating = "toys.stats__trips", "toys.stats__rating"
    assert {key: (row["event_timestamp"], row[trips], row[rating]) for key, row in rows.items()} == {
        1: (at(2), 10, 0.5), 2: (at(0.5), None, None), 3: (at(3), None, None),
    }  # fmt: skip


def test_a_saved_dataset_has_its_lineage_and_its_cost_and_is_replaced_only_where_that_is_allowed(
    store: FeatureStore, platform: Platform, tmp_path: Path
) -> None:
    storage = declare_saved(platform, tmp_path, bigint("trips"))
    query = "SELECT driver, event_timestamp FROM gold_toys_derived WHERE driver = {}"
    first, second = (store.get_historical_features(query.format(key), ["toys.stats:trips"]) for key in (1, 2))
    store.create_saved_dataset(first, "march", storage)
    event = platform.lineage.producer_of(str(SAVED))
    assert event is not None
    assert {dataset["name"] for dataset in event["inputs"]} == {"gold/toys/stats", "gold/toys/derived"}
    [output] = event["outputs"]
    lineage = output["facets"]["columnLineage"]["fields"]["trips"]["inputFields"]
    assert ("gold/toys/stats", "trips") in {(field["name"], field["field"]) for field in lineage}
    costs = platform.lakehouse.read(platform.lakehouse.current(COSTS)).toArrow()
    assert str(SAVED) in costs["ResourceId"].to_pylist()
    assert SAVED not in derivations
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="gold/toys/saved"):
        store.create_saved_dataset(second, "march", storage)
    assert store.get_saved_dataset("march").to_arrow()["driver"].to_pylist() == [1]
    store.create_saved_dataset(second, "march", storage, allow_overwrite=True)
    assert store.get_saved_dataset("march").to_arrow()["driver"].to_pylist() == [2]


def undeclared(store: FeatureStore, platform: Platform, folder: Path) -> str:
    return "gold/toys/unknown"


def of_another_zone(store: FeatureStore, platform: Platform, folder: Path) -> str:
    return str(declare(platform, folder, "silver/toys/saved", [bigint("driver")]).table)


def of_an_asset(store: FeatureStore, platform: Platform, folder: Path) -> str:
    return "gold/toys/derived"


def of_its_own_input(store: FeatureStore, platform: Platform, folder: Path) -> str:
    return str(STATS)


def of_a_column_more(store: FeatureStore, platform: Platform, folder: Path) -> str:
    return str(declare_saved(platform, folder, bigint("rides")).file_options.uri)


def of_a_lower_class(store: FeatureStore, platform: Platform, folder: Path) -> str:
    return str(declare_saved(platform, folder, bigint("trips"), tags={"data_class": "public"}).file_options.uri)


def of_no_nulls(store: FeatureStore, platform: Platform, folder: Path) -> str:
    return str(declare_saved(platform, folder, bigint("trips", required=True)).file_options.uri)


@pytest.mark.parametrize(
    ("place", "error", "words"),
    [
        (undeclared, NotFoundError, "no contract declares it"),
        (of_another_zone, SettingsError, "a gold table with a contract that no asset computes"),
        (of_an_asset, SettingsError, "deliver or push the rows to landing/toys/rides"),
        (of_its_own_input, SettingsError, "computed from it"),
        (of_a_column_more, DefinitionError, "no column rides"),
        (of_a_lower_class, DefinitionError, "which is 'internal'"),
        (of_no_nulls, VerdictError, "trips"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_dataset_is_not_saved_where_its_rows_would_not_be_governed(
    store: FeatureStore, platform: Platform, tmp_path: Path,
    place: Callable[..., str], error: type[Exception], words: str,
) -> None:  # fmt: skip
    table = TableId.parse(place(store, platform, tmp_path))
    before = platform.lakehouse.version(table)
    job = store.get_historical_features(asked((1, 2), (2, 2)), ["toys.stats:trips"])
    with pytest.raises(error, match=words):
        store.create_saved_dataset(job, "march", SavedDatasetFileStorage(path=str(table)), allow_overwrite=True)
    assert platform.lakehouse.version(table) == before


def test_rows_that_are_written_to_a_view_are_known_from_their_instants(store: FeatureStore, platform: Platform) -> None:
    store.write_to_offline_store("toys.stats", stats((1, 3, 30, 3.5), (4, 3, None, 0.25)))
    store.push("pushed", stats((1, 4, 40, 4.5)), to=PushMode.OFFLINE)
    rows = store.get_historical_features(
        asked((1, 2), (1, 3), (1, 9), (2, 9), (4, 9)), ["toys.stats:trips", "toys.stats:rating"]
    ).to_arrow()
    found = sorted(
        zip(*(rows[name].to_pylist() for name in ("driver", "event_timestamp", "trips", "rating")), strict=True)
    )
    assert found == [
        (1, at(2), 10, 0.5), (1, at(3), 30, 3.5), (1, at(9), 40, 4.5), (2, at(9), None, 1.5), (4, at(9), None, 0.25),
    ]  # fmt: skip
    assert platform.lineage.producer_of(str(STATS)) is not None


def test_rows_of_two_writers_are_all_kept(store: FeatureStore, platform: Platform) -> None:
    batches = [pa.Table.from_pandas(stats((driver, 5, driver, 0.5))) for driver in (11, 12)]
    with ThreadPoolExecutor(2) as writers:
        list(writers.map(lambda rows: append(STATS, rows), batches))
    rows = platform.lakehouse.read(platform.lakehouse.current(STATS)).toArrow()
    assert sorted(rows["driver"].to_pylist()) == [1, 2, 11, 12]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda rows: rows.assign(trips=[2.5]), DefinitionError, "column trips: double .* int64 does not hold exactly"),
        (lambda rows: rows.assign(rating=[0.1]), DefinitionError, "column rating: double .* float does not hold exactly"),
        (lambda rows: rows.assign(trips=["many"]), DefinitionError, "column trips: .*string"),
        (lambda rows: rows.assign(event_timestamp=["2013-03-10"]), DefinitionError, "column event_timestamp: .*string"),
        (lambda rows: rows.drop(columns="trips"), ValueError, "missing_expected_columns"),
        (lambda rows: rows.assign(driver=[1], event_timestamp=[at(1)]), VerdictError, "gold/toys/stats"),
        (lambda rows: rows.assign(driver=pd.array([None], "Int64")), VerdictError, "gold/toys/stats"),
    ],
    ids=["fraction", "rounded", "text", "text of an instant", "column less", "same key", "no key"],
)  # fmt: skip
def test_rows_that_do_not_fit_a_view_are_refused_whole(
    store: FeatureStore, platform: Platform, change: Callable[[pd.DataFrame], pd.DataFrame], error: type[Exception],
    words: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=words):
        store.write_to_offline_store("toys.stats", change(stats((7, 7, 7, 7.5))))
    assert platform.lakehouse.current(STATS).version == 0


def test_rows_for_a_table_that_an_asset_computes_are_refused_with_the_sources_that_lead_there(
    store: FeatureStore,
) -> None:
    with pytest.raises(SettingsError, match="gone with its next run.*landing/toys/rides"):
        store.write_to_offline_store("toys.derived", stats((7, 7, 7, 7.5)))


def test_logged_features_are_rows_of_a_table(store: FeatureStore, platform: Platform, tmp_path: Path) -> None:
    features = {
        "toys_stats__trips": bigint,
        "toys_stats__trips__timestamp": timestamp,
        "toys_stats__trips__status": bigint,
    }
    columns = [bigint("driver"), *(of(name) for name, of in features.items()), timestamp("__log_timestamp")]
    day = {"name": "__log_date", "logicalType": "date", "description": "day"}
    declare(platform, tmp_path, "gold/toys/logged", [*columns, day, toy_contracts.text("__request_id")])
    view = store.get_feature_view("toys.stats")
    destination = FileLoggingDestination(path="gold/toys/logged")
    service = FeatureService(
        name="logs", features=[view[["trips"]]], logging_config=LoggingConfig(destination=destination)
    )
    for number in (1, 2):
        logs: Any = pa.table(
            {
                "driver": [number], "toys.stats__trips": [10], "toys.stats__trips__timestamp": [at(1)],
                "toys.stats__trips__status": pa.array([1], pa.int32()), "__log_timestamp": [at(number)],
                "__log_date": [at(number).date()], "__request_id": [f"r-{number}"],
            }
        )  # fmt: skip
        folder = tmp_path / f"logs_{number}"
        folder.mkdir()
        pq.write_table(logs, folder / "part.parquet")
        store.write_logged_features(folder if number == 1 else logs, service)
    provider: Any = store._get_provider()
    read = provider.retrieve_feature_service_logs(service, at(0), at(1.5), store.config, store.registry).to_arrow()
    assert [(r["driver"], r["toys.stats__trips"], r["__request_id"]) for r in read.to_pylist()] == [(1, 10, "r-1")]
    assert platform.lakehouse.snapshot(TableId("gold", "toys", "logged")).rows == 2
