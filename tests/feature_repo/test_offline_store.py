"""Feast's interface of the offline store: what it answers for entity rows, and what it refuses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feast.transformation.pandas_transformation import PandasTransformation

from feature_repo.feast_api import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Int32,
    Int64,
    OnDemandFeatureView,
    ValueType,
)
from feature_repo.offline_store import LakehouseOfflineStore
from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError, NotFoundError, SettingsError
from pipelines.governed.platform import Platform
from pipelines.tables import TableId
from tests.feature_repo.toy_feast import bigint, declare, timestamp, toy_platform, toy_store
from tests.pipelines import toy_contracts

BEGIN = datetime(2013, 3, 10, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")
DRIVERS = pa.schema(
    [("driver", pa.int64()), ("at", INSTANT), ("written", INSTANT), ("trips", pa.int32()), ("rating", pa.int64())]
)


def at(hours: float) -> datetime:
    return BEGIN + timedelta(hours=hours)


def row(driver: int | None, about: float, written: float, trips: int | None) -> dict[str, Any]:
    return {"driver": driver, "at": at(about), "written": at(written), "trips": trips, "rating": 2**53 + 1}


#: A correction of the first row that came at 5, a row of the same instant that came earlier, one without key.
ROWS = [row(1, 1, 1, 10), row(1, 1, 5, 11), row(1, 3, 9, 30), row(2, 1, 1, None), row(None, 1, 1, 99)]


@pytest.fixture
def platform(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A home folder with the table of drivers, of which the columns `secret` and `home` are confidential."""
    declared = toy_platform(engine, tmp_path, monkeypatch)
    columns = [timestamp("at"), timestamp("written"), toy_contracts.integer("trips"), bigint("rating")]
    hidden = [toy_contracts.text(name, classification="confidential") for name in ("secret", "home")]
    declare(declared, tmp_path, "gold/toys/drivers", [bigint("driver"), *columns, *hidden])
    rows = pa.Table.from_pylist(ROWS, schema=DRIVERS)
    none = pa.nulls(rows.num_rows, pa.string())
    rows = rows.append_column("secret", none).append_column("home", none)
    write_deltalake(declared.lakehouse.path(TableId("gold", "toys", "drivers")), rows)
    return declared


@pytest.fixture
def store(platform: Platform, tmp_path: Path) -> FeatureStore:
    feast = toy_store(tmp_path)
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    source = FileSource(
        name="drivers", path="gold/toys/drivers", timestamp_field="at", created_timestamp_column="written"
    )
    renamed = FileSource(
        name="renamed", path="gold/toys/drivers", timestamp_field="since", created_timestamp_column="written",
        field_mapping={"at": "since", "driver": "chauffeur", "trips": "rides"},
    )  # fmt: skip
    chauffeur = Entity(name="chauffeur", join_keys=["chauffeur"], value_type=ValueType.INT64)
    fields = [Field(name="trips", dtype=Int32), Field(name="rating", dtype=Int64)]
    views = [
        FeatureView(name="stats", entities=[driver], schema=fields, source=source),
        FeatureView(name="recent", entities=[driver], schema=fields, source=source, ttl=timedelta(hours=2)),
        FeatureView(name="toys.stats", entities=[driver], schema=fields, source=source),
        FeatureView(name="fleet", entities=[], schema=fields, source=source),
        FeatureView(name="mapped", entities=[chauffeur], schema=[Field(name="rides", dtype=Int32)], source=renamed),
    ]
    feast.apply([driver, chauffeur, *views])
    return feast


def asked(*rows: tuple[int, float]) -> pd.DataFrame:
    return pd.DataFrame({"driver": [key for key, _ in rows], "event_timestamp": [at(hours) for _, hours in rows]})


def answers(store: FeatureStore, questions: pd.DataFrame, *features: str, **kwargs: Any) -> list[dict[str, Any]]:
    rows = store.get_historical_features(questions, list(features), **kwargs).to_arrow().to_pylist()
    return sorted(rows, key=lambda found: (found["driver"], found["event_timestamp"]))


def test_the_row_that_was_created_last_counts_of_several_of_one_instant(store: FeatureStore) -> None:
    rows = answers(store, asked((1, 2), (1, 4), (2, 2), (3, 2)), "stats:trips", "stats:rating")
    assert [(found["trips"], found["rating"]) for found in rows] == [
        (11, 2**53 + 1), (30, 2**53 + 1), (None, 2**53 + 1), (None, None),
    ]  # fmt: skip


def test_a_row_counts_from_its_creation_where_that_is_asked_for(store: FeatureStore) -> None:
    questions = asked((1, 0.5), (1, 2), (1, 6), (1, 9))
    rows = answers(store, questions, "stats:trips", filter_by_created_timestamp=True)
    assert [found["trips"] for found in rows] == [None, 10, 11, 30]


def test_views_with_a_ttl_and_without_an_entity_are_joined_side_by_side(store: FeatureStore) -> None:
    rows = answers(
        store, asked((2, 2), (2, 4)), "stats:rating", "recent:rating", "fleet:trips", full_feature_names=True
    )
    assert [(r["stats__rating"], r["recent__rating"], r["fleet__trips"]) for r in rows] == [
        (2**53 + 1, 2**53 + 1, 11), (2**53 + 1, None, 30),
    ]  # fmt: skip


def test_a_view_is_joined_by_another_column_of_the_entity_rows(store: FeatureStore) -> None:
    view = store.get_feature_view("stats").with_name("rival").with_join_key_map({"driver": "rival"})
    service = FeatureService(name="duel", features=[view[["trips"]]])
    store.apply(service)
    questions = asked((2, 4)).assign(rival=1)
    job = store.get_historical_features(questions, service, full_feature_names=True)
    assert [found["rival__trips"] for found in job.to_arrow().to_pylist()] == [30]


def test_a_view_whose_name_has_a_dot_is_joined(store: FeatureStore) -> None:
    assert [found["trips"] for found in answers(store, asked((1, 4)), "toys.stats:trips")] == [30]
    rows = answers(store, asked((1, 4)), "toys.stats:trips", full_feature_names=True)
    assert [found["toys.stats__trips"] for found in rows] == [30]


def test_equal_entity_rows_stay_as_many_as_they_were(store: FeatureStore) -> None:
    assert len(answers(store, asked((1, 2), (1, 2), (7, 2)), "stats:trips")) == 3


def test_only_what_was_asked_for_is_answered(store: FeatureStore) -> None:
    job = store.get_historical_features(asked((1, 2)).assign(label="ü"), ["stats:trips"])
    assert job.to_arrow().column_names == ["driver", "event_timestamp", "label", "trips"]


def test_a_source_may_have_other_names_for_the_columns_of_its_table(store: FeatureStore) -> None:
    questions = asked((1, 4)).rename(columns={"driver": "chauffeur"})
    rows = store.get_historical_features(questions, ["mapped:rides"]).to_arrow().to_pylist()
    assert [(row["chauffeur"], row["rides"]) for row in rows] == [(1, 30)]


def test_the_only_column_of_times_says_when_a_row_asks(store: FeatureStore) -> None:
    questions = asked((1, 2), (1, 4)).rename(columns={"event_timestamp": "when"})
    rows = store.get_historical_features(questions, ["stats:trips"]).to_arrow().to_pylist()
    assert sorted((row["when"], row["trips"]) for row in rows) == [(at(2), 11), (at(4), 30)]
    for other in (questions.assign(then=questions["when"]), questions[["driver"]]):
        with pytest.raises(DefinitionError, match="event_timestamp, or as the only column of times"):
            store.get_historical_features(other, ["stats:trips"])


@pytest.mark.parametrize(("since", "until", "trips"), [(0, 2, {1: 11, 2: None}), (2, 4, {1: 30}), (5, 9, {})])
def test_a_range_of_time_asks_for_each_entity_in_it_at_its_end(
    store: FeatureStore, since: float, until: float, trips: dict[int, int | None]
) -> None:
    job = store.get_historical_features(
        features=["stats:trips", "recent:rating"], start_date=at(since), end_date=at(until)
    )
    rows = job.to_arrow().to_pylist()
    assert {found["driver"]: found["trips"] for found in rows} == trips
    assert len(rows) == len(trips)
    assert {found["event_timestamp"] for found in rows} <= {at(until)}


def test_a_range_of_time_of_a_view_without_an_entity_is_one_row(store: FeatureStore) -> None:
    job = store.get_historical_features(features=["fleet:trips"], start_date=at(0), end_date=at(2))
    assert [found["trips"] for found in job.to_arrow().to_pylist()] == [11]


@pytest.mark.parametrize("change", [lambda at: at.dt.date, lambda at: at.astype(str)], ids=["days", "texts"])
def test_entity_rows_without_instants_are_refused(store: FeatureStore, change: Callable[[pd.Series], Any]) -> None:
    questions = asked((1, 2))
    changed = questions.assign(event_timestamp=change(questions.event_timestamp))
    with pytest.raises(DefinitionError, match=r"spine, column event_timestamp"):
        store.get_historical_features(changed, ["stats:trips"])


@pytest.mark.parametrize(
    "change",
    [lambda at: at.dt.tz_convert("America/New_York"), lambda at: at.dt.tz_localize(None)],
    ids=["abroad", "naive, which Feast reads as UTC"],
)
def test_instants_of_another_zone_are_converted(store: FeatureStore, change: Callable[[pd.Series], Any]) -> None:
    questions = asked((1, 2), (1, 4))
    changed = questions.assign(event_timestamp=change(questions.event_timestamp))
    assert [row["trips"] for row in answers(store, changed, "stats:trips")] == [11, 30]


def test_pulled_rows_are_the_last_that_were_created(store: FeatureStore) -> None:
    source = store.get_feature_view("stats").batch_source
    assert source is not None
    job = store._get_provider().offline_store.pull_latest_from_table_or_query(  # type: ignore[attr-defined]
        store.config, source, ["driver"], ["trips"], "at", "written", at(0), at(2)
    )
    assert {found["driver"]: found["trips"] for found in job.to_arrow().to_pylist() if found["driver"]} == {
        1: 11,
        2: None,
    }


def test_an_instant_without_a_zone_is_utc(store: FeatureStore) -> None:
    naive = asked((1, 2), (1, 4)).assign(event_timestamp=lambda rows: rows["event_timestamp"].dt.tz_localize(None))
    rows = answers(store, naive, "stats:trips")
    assert [(found["event_timestamp"], found["trips"]) for found in rows] == [(at(2), 11), (at(4), 30)]


def pulled(store: FeatureStore, method: str, keys: list[str], *bounds: datetime | None) -> pa.Table:
    source, offline = store.get_feature_view("stats").batch_source, store._get_provider().offline_store  # type: ignore[attr-defined]
    return getattr(offline, method)(
        store.config, source, keys, ["trips", "rating"], "at", "written", *bounds
    ).to_arrow()


def test_all_rows_of_a_range_are_pulled_with_their_types(store: FeatureStore) -> None:
    rows = pulled(store, "pull_all_from_table_or_query", ["driver"], at(1), at(2))
    assert [rows.schema.field(name).type for name in ("driver", "trips", "rating")] == [
        pa.int64(), pa.int32(), pa.int64(),
    ]  # fmt: skip
    assert sorted(rows["trips"].to_pylist(), key=str) == [10, 11, 99, None]
    assert pulled(store, "pull_all_from_table_or_query", ["driver"], None, None).num_rows == len(ROWS)


def test_the_last_row_of_a_view_without_an_entity_is_one(store: FeatureStore) -> None:
    rows = pulled(store, "pull_latest_from_table_or_query", [], at(0), at(9))
    [row] = rows.to_pylist()
    assert row == {"__dummy_id": "", "trips": 30, "rating": 2**53 + 1, "at": at(3), "written": at(9)}


def test_a_protected_column_is_refused_before_its_table_is_read(platform: Platform, tmp_path: Path) -> None:
    declare(
        platform, tmp_path, "gold/toys/none", [bigint("driver"), timestamp("at"), bigint("price", classification="pii")]
    )
    source = FileSource(name="none", path="gold/toys/none", timestamp_field="at")
    pull: Any = LakehouseOfflineStore.pull_all_from_table_or_query
    with pytest.raises(SettingsError, match="price, more protected than internal"):
        pull(None, source, ["driver"], ["price"], "at")
    with pytest.raises(NotFoundError, match="goldpath materialize gold/toys/none"):
        pull(None, source, ["driver"], [], "at")


def doubled(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"twice": rows["trips"].astype("Int64") * 2})


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature")
def test_an_on_demand_view_is_computed_from_what_was_known(store: FeatureStore) -> None:
    view = OnDemandFeatureView(
        name="doubles",
        sources=[store.get_feature_view("stats")],
        schema=[Field(name="twice", dtype=Int64)],
        feature_transformation=PandasTransformation(doubled, inspect.getsource(doubled)),
        mode="pandas",
    )
    store.apply(view)
    rows = answers(store, asked((1, 2), (1, 4), (2, 2)), "stats:trips", "doubles:twice")
    assert [(found["trips"], found["twice"]) for found in rows] == [(11, 22), (30, 60), (None, None)]
