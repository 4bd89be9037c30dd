"""Feast's interface of the offline store: what it answers for entity rows, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from feature_repo.feast_api import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Int32,
    Int64,
    RepoConfig,
    ValueType,
)
from feature_repo.offline_store import reading
from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError, SettingsError

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
def store(engine: Engine, tmp_path: Path) -> Iterator[FeatureStore]:
    config = RepoConfig(
        project="toy",
        provider="local",
        registry=str(tmp_path / "registry.db"),
        online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
        offline_store={"type": "feature_repo.offline_store.LakehouseOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=tmp_path,
    )
    feast = FeatureStore(config=config)
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    source = FileSource(name="drivers", path="drivers", timestamp_field="at", created_timestamp_column="written")
    fields = [Field(name="trips", dtype=Int32), Field(name="rating", dtype=Int64)]
    views = [
        FeatureView(name="stats", entities=[driver], schema=fields, source=source),
        FeatureView(name="recent", entities=[driver], schema=fields, source=source, ttl=timedelta(hours=2)),
        FeatureView(name="fleet", entities=[], schema=fields, source=source),
    ]
    feast.apply([driver, *views])
    rows = engine.session.createDataFrame(pa.Table.from_pylist(ROWS, schema=DRIVERS))
    with reading({"drivers": rows}.__getitem__):
        yield feast


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


def test_equal_entity_rows_stay_as_many_as_they_were(store: FeatureStore) -> None:
    assert len(answers(store, asked((1, 2), (1, 2), (7, 2)), "stats:trips")) == 3


@pytest.mark.parametrize("questions", [None, "SELECT 1"])
def test_a_question_without_entity_rows_is_refused(store: FeatureStore, questions: str | None) -> None:
    with pytest.raises(SettingsError, match="event_timestamp"):
        store.get_historical_features(questions, ["stats:trips"])


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


def test_rows_are_not_written_past_governed_runs(store: FeatureStore) -> None:
    view = store.get_feature_view("stats")
    with pytest.raises(SettingsError, match="landing"):
        store._get_provider().ingest_df_to_offline_store(view, pa.Table.from_pylist(ROWS, schema=DRIVERS))
