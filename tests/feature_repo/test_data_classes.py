"""Access by data class: what a service may not read reaches neither its training sets, nor its online answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feature_repo import home_stores, parity
from feature_repo.filling import materialize
from feature_repo.history import historical
from feature_repo.online_rows import write_rows
from feature_repo.state import DomainStore
from feature_repo.store import current
from pipelines import settings as environment
from pipelines.commands.features import _withheld
from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError, SettingsError
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureService, feature_view, stored_views
from pipelines.settings import Settings
from serving.predict.features import OnlineFeatures
from tests.feature_repo.test_domains import BEGIN, column, stock

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

SECRET = "confidential"


def service(
    folder: Path, name: str = "open_v1", *, reads: str = "internal", without: tuple[str, ...] = (), is_: str = SECRET
) -> FeatureService:
    contract = stock(folder, "toys", column("count", "bigint"), column("price", "double", classification=is_))
    return FeatureService(name, "toys", (feature_view(contract, without=without),), "Stock.", "toy-data", reads)


def rows(engine: Engine) -> dict[str, Any]:
    table = {"item": ["brick"], EVENT_TIMESTAMP: pa.array([BEGIN], pa.timestamp("us", "UTC"))}
    table |= {"count": pa.array([7], pa.int64()), "price": [1.5]}
    return {"gold_toys_stock": engine.session.createDataFrame(pa.table(table))}


@pytest.mark.parametrize(
    ("reads", "without", "is_", "words"),
    [
        ("internal", (), "confidential", r"price of gold/toys/stock is confidential, and it reads up to internal"),
        ("confidential", (), "restricted", "is restricted, and it reads up to confidential"),
        ("restricted", (), "pii", "is pii"),
        ("public", ("price",), "confidential", r"item, count of gold/toys/stock is internal"),
        ("secret", (), "public", r"reads 'secret'"),
        ("internal", ("prise",), "confidential", "it leaves out prise"),
        ("internal", ("item",), "confidential", "it leaves out item"),
    ],
)
def test_a_service_that_may_not_read_a_column_is_refused_with_the_way_on(
    tmp_path: Path, reads: str, without: tuple[str, ...], is_: str, words: str
) -> None:
    with pytest.raises(DefinitionError, match=words):
        service(tmp_path, reads=reads, without=without, is_=is_)


def test_a_column_that_is_left_out_is_in_no_training_set_and_not_filled_online(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, tables = service(tmp_path, without=("price",)), rows(engine)
    spine = tables["gold_toys_stock"].select("item", EVENT_TIMESTAMP)
    assert historical(own, spine, tables).columns == ["item", EVENT_TIMESTAMP, "stock__count", "stock__event_timestamp"]
    place = DomainStore(Settings(home=tmp_path / "home", profile="test"), "toys")
    materialize(place, [own], tables, as_of=BEGIN)
    [reading] = OnlineFeatures(place.settings, own).read([{"item": "brick"}])
    assert reading.values() == {"stock__count": 7}
    assert [field.name for field in current(place).store.get_feature_view("toys.stock").features] == ["count"]
    cleared = service(tmp_path, "closed_v1", reads=SECRET)
    materialize(place, [own, cleared], tables, as_of=BEGIN)
    assert [OnlineFeatures(place.settings, each).read([{"item": "brick"}])[0].values() for each in (own, cleared)] == [
        {"stock__count": 7}, {"stock__count": 7, "stock__price": 1.5}
    ]  # fmt: skip
    store = current(place).store
    assert [
        [feature.name for feature in store.get_feature_service(f"toys.{name}").feature_view_projections[0].features]
        for name in ("open_v1", "closed_v1")
    ] == [["count"], ["count", "price"]]
    _require_no_value_shown(engine, place, [own, cleared], monkeypatch)


def _require_no_value_shown(
    engine: Engine, place: DomainStore, services: list[FeatureService], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, [view] = current(place).store, stored_views(services)
    write_rows(store, "toys", view, [{"item": "brick", EVENT_TIMESTAMP: BEGIN, "count": 8, "price": 2.5}])
    found = parity.compare(place, services, rows(engine)).differences
    assert [(each.feature, each.online, each.offline) for each in found] == [
        ("count", 8, 7), ("price", "(confidential)", "(confidential)")
    ]  # fmt: skip
    assert _withheld(view, "internal") == [("price", "confidential: --reads confidential")]
    assert _withheld(view, SECRET) == []
    monkeypatch.setattr(environment, "get", lambda: place.settings)
    feast_view = store.get_feature_view("toys.stock")
    with pytest.raises(SettingsError, match="asked for price, more protected than internal"):
        home_stores.HomeOnlineStore().online_read(store.config, feast_view, [], None)
