"""Two domains with one key name and one view name: what happens to one's online store leaves the other's alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr
from redis import Redis

from feature_repo import filling, online_rows, parity, unfinished
from feature_repo.filling import Materialized, materialize
from feature_repo.online_rows import stored_rows, write_rows
from feature_repo.state import DomainStore
from feature_repo.store import current
from pipelines.contracts.load import load
from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.errors import DamagedError, DefinitionError, SettingsError
from pipelines.features.declaration import FeatureService, feature_view
from pipelines.settings import PROJECT, Settings
from serving.errors import FeatureStoreUnavailable
from serving.predict.features import OnlineFeatures
from tests.pipelines import toy_contracts
from tests.servers import redis

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DOMAINS = ("shop", "toys")
ITEMS = ("brick", "größe")
TYPES = {"text": "string", "small": "int", "count": "bigint", "weight": "float", "price": "double", "sold": "boolean"}
LOGICAL = {"string": "string", "int": "integer", "bigint": "integer", "float": "number", "double": "number"}
ARROW = {
    "string": pa.string(), "int": pa.int32(), "bigint": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "boolean": pa.bool_(),
}  # fmt: skip


def column(name: str, type: str, **more: Any) -> dict[str, Any]:
    physical = {"physicalType": type} if type in ("int", "bigint", "float", "double") else {}
    return {"name": name, "logicalType": LOGICAL.get(type, type), "description": name, **physical, **more}


def stock(folder: Path, domain: str, *columns: dict[str, Any], table: str = "stock", key: str = "string") -> Contract:
    keys = [
        column("item", key, primaryKey=True, primaryKeyPosition=1, required=True),
        column("event_timestamp", "timestamp", primaryKey=True, primaryKeyPosition=2, required=True),
    ]
    document = toy_contracts.document(f"gold/{domain}/{table}", [*keys, *columns]) | {"domain": domain}
    return load(toy_contracts.write(folder, document))


def service(folder: Path, domain: str, *contracts: Contract) -> FeatureService:
    views = contracts or [stock(folder, domain, *(column(name, type) for name, type in TYPES.items()))]
    return FeatureService("stock_v1", domain, tuple(map(feature_view, views)), "What is in stock.", "toy-data")


def value(domain: str, name: str, hour: int) -> Any:
    """The value of a feature from an hour on, which differs between the domains; null at every fifth hour."""
    number = 1 + hour + 100 * DOMAINS.index(domain)
    values = {"text": f"{number} größe", "small": -number, "count": 2**53 + number, "weight": number / 4}
    return None if hour % 5 == 4 else (values | {"price": number / 10, "sold": number % 2 == 1})[name]


def tables(engine: Engine, domain: str, hours: int = 48) -> dict[str, Any]:
    rows = [
        {"item": item, "event_timestamp": BEGIN + timedelta(hours=hour)}
        | {name: value(domain, name, hour) for name in TYPES}
        for item in ITEMS
        for hour in range(hours)
    ]
    types = [("item", pa.string()), ("event_timestamp", pa.timestamp("us", "UTC"))]
    schema = pa.schema([*types, *((name, ARROW[type]) for name, type in TYPES.items())])
    return {f"gold_{domain}_stock": engine.session.createDataFrame(pa.Table.from_pylist(rows, schema=schema))}


def fill(engine: Engine, settings: Settings, folder: Path, domain: str, hour: int) -> Materialized:
    as_of = BEGIN + timedelta(hours=hour)
    return materialize(DomainStore(settings, domain), [service(folder, domain)], tables(engine, domain), as_of=as_of)


def stored(settings: Settings, domain: str) -> list[dict[str, Any]]:
    """The features of each item as the domain's store answers them."""
    store = current(DomainStore(settings, domain)).store
    found = store.get_feature_service(f"{domain}.stock_v1")
    rows = [{"item": item} for item in ITEMS]
    answer = store.get_online_features(features=found, entity_rows=rows, full_feature_names=True).to_dict()
    return [dict(zip(answer, values, strict=True)) for values in zip(*answer.values(), strict=True)]


def expected(domain: str, hour: int) -> list[dict[str, Any]]:
    return [{"item": item} | {f"stock__{name}": value(domain, name, hour) for name in TYPES} for item in ITEMS]


def everything(settings: Settings, domain: str) -> Any:
    """All that the home folder holds of a domain's store, its database as SQL, and what it answers."""
    folder = settings.root / "features" / domain
    files: dict[Path, bytes | list[str]] = {}
    for path in folder.rglob("*"):
        if path.name == "online.db":  # reading moves bytes between the file and SQLite's log of it
            with contextlib.closing(sqlite3.connect(path)) as connection:
                files[path.relative_to(folder)] = list(connection.iterdump())
        elif path.is_file() and not path.name.startswith("online.db-"):
            files[path.relative_to(folder)] = path.read_bytes()
    return files, stored(settings, domain)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.RedisServer]:
    with redis.running(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    address = SecretStr(request.getfixturevalue("server").feast) if request.param == "redis" else None
    return Settings(home=tmp_path / "home", profile="test", redis_url=address)


def test_an_instant_before_all_rows_is_refused_and_the_store_stays_as_it_is(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=f"an instant from the first row on, {BEGIN.year}"):
        fill(engine, settings, tmp_path, "toys", -1)
    fill(engine, settings, tmp_path, "toys", 20)
    with pytest.raises(SettingsError, match="when no row of gold_toys_stock was known"):
        fill(engine, settings, tmp_path, "toys", -1)
    assert stored(settings, "toys") == expected("toys", 20)


def test_rows_that_are_filled_and_rows_that_are_written_keep_values_and_types_beside_nulls(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    fill(engine, settings, tmp_path, "toys", 20)
    place, [view] = DomainStore(settings, "toys"), service(tmp_path, "toys").views
    assert parity.compare(place, [service(tmp_path, "toys")], tables(engine, "toys"), entities=None).differences == []
    known = {name: value("toys", name, 21) for name in TYPES} | {"event_timestamp": BEGIN + timedelta(hours=21)}
    nothing = known | dict.fromkeys(TYPES)
    store = current(place).store
    write_rows(store, "toys", view, [{"item": "brick", **known}, {"item": "größe", **nothing}])
    held = stored_rows(store, "toys", view, [{"item": item} for item in ("brick", "größe", "neither")])
    assert held == [known, nothing, None]
    assert {name: type(held) for name, held in (held[0] or {}).items()} == {
        name: type(value) for name, value in known.items()
    }


def test_a_prediction_service_reads_what_feast_reads(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    for hour in (20, 24):  # at hour 24 every feature is null
        fill(engine, settings, tmp_path, "toys", hour)
        rows = [{"item": item} for item in ITEMS]
        readings = OnlineFeatures(settings, service(tmp_path, "toys")).read([*rows, {"item": "neither"}])
        assert [row | reading.values() for row, reading in zip(rows, readings, strict=False)] == stored(
            settings, "toys"
        )
        assert {feature.timestamp for reading in readings for feature in reading.features.values()} == {
            (BEGIN + timedelta(hours=hour)).isoformat()
        }
        assert {missing.reason for missing in readings[-1].missing} == {"unknown entity"}
        assert len(readings[-1].missing) == len(TYPES)


def test_moving_one_domain_forward_and_back_leaves_the_other_alone(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    fill(engine, settings, tmp_path, "toys", 20)
    fill(engine, settings, tmp_path, "shop", 30)
    before = everything(settings, "shop")
    assert before[1] == expected("shop", 30)
    for hour, rebuilt in ((23, False), (12, True), (14, False), (44, False)):
        assert fill(engine, settings, tmp_path, "toys", hour).rebuilt is rebuilt
        assert stored(settings, "toys") == expected("toys", hour)
        assert everything(settings, "shop") == before
    assert len(DomainStore(settings, "toys").generations()) == 1


def test_a_store_that_is_filled_anew_answers_as_before_until_it_is_complete(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, settings, tmp_path, "toys", 30)
    seen, write = [], online_rows.write_batches

    def watched(*arguments: Any, **named: Any) -> int:
        written = write(*arguments, **named)
        seen.append(stored(settings, "toys"))
        return written

    monkeypatch.setattr(online_rows, "write_batches", watched)
    assert fill(engine, settings, tmp_path, "toys", 12).rebuilt
    assert seen == [expected("toys", 30)]
    assert stored(settings, "toys") == expected("toys", 12)


KILLED = """
import os, signal, sys
from pathlib import Path
from feature_repo import online_rows
from pipelines.engine.session import Engine
from pipelines.settings import Settings
from tests.feature_repo import test_domains

write = online_rows.write_batches
def killed(*arguments, **named):
    write(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)
online_rows.write_batches = killed
home, folder, hour = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
redis = os.environ.get("ADDRESS") or None
with Engine.start("embedded", home=folder / "engine", threads=2) as engine:
    test_domains.fill(engine, Settings(home=home, profile="test", redis_url=redis), folder, "toys", hour)
"""


@pytest.mark.parametrize("killed_at", [12, 40], ids=["anew", "further"])
def test_a_filling_that_is_killed_before_its_record_loses_nothing_and_is_made_up_for(
    engine: Engine, settings: Settings, tmp_path: Path, killed_at: int
) -> None:
    fill(engine, settings, tmp_path, "shop", 20)
    fill(engine, settings, tmp_path, "toys", 30)
    other = everything(settings, "shop")
    address = settings.redis_url.get_secret_value() if settings.redis_url else ""
    command = [sys.executable, "-c", KILLED, str(settings.home), str(tmp_path), str(killed_at)]
    ended = subprocess.run(command, cwd=PROJECT, env=os.environ | {"ADDRESS": address}, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert stored(settings, "toys") == expected("toys", max(killed_at, 30))
    assert fill(engine, settings, tmp_path, "toys", 35).rebuilt is (killed_at > 35)
    assert stored(settings, "toys") == expected("toys", 35)
    assert everything(settings, "shop") == other
    assert len(DomainStore(settings, "toys").generations()) == 1


def killed_after(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the next filling write so many parts of views, and ends it in the middle of one more."""
    write, done = online_rows.write_batches, itertools.count(1)

    def killed(store: Any, domain: str, view: Any, batches: Any, **named: Any) -> int:
        if next(done) <= parts:
            return write(store, domain, view, batches, **named)
        write(store, domain, view, [next(iter(batches)).slice(0, 1)], **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(online_rows, "write_batches", killed)
    monkeypatch.setattr(filling, "AT_ONCE", 1)


@pytest.mark.parametrize("change", ["", "withdrawn", "earlier", "declared", "recomputed"])
def test_a_first_filling_that_was_killed_goes_on_where_it_was_unless_its_rows_have_changed(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    place, declared = DomainStore(settings, "toys"), service(tmp_path, "toys")
    [(source, rows)] = tables(engine, "toys").items()
    table, items = rows.toArrow(), [f"item-{number}" for number in range(40)]
    brick = [row for row in table.to_pylist() if row["item"] == "brick"]
    # Of every second item nothing is known after hour 20, so that a part that goes on from hour 30 does not write it.
    every = [row | {"item": item} for number, item in enumerate(items) for row in (brick[:21] if number % 2 else brick)]
    kept = [row for row in every if change != "withdrawn" or row["item"] != "item-7"]

    def frames(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {source: engine.session.createDataFrame(pa.Table.from_pylist(rows, schema=table.schema))}

    known = sum(row["event_timestamp"] <= BEGIN + timedelta(hours=30) for row in every)
    monkeypatch.setattr(unfinished, "VALUES_PER_PART", known * len(TYPES) // 2)  # three parts
    with monkeypatch.context() as patch:
        killed_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            materialize(place, [declared], frames(every), as_of=BEGIN + timedelta(hours=30))
    assert place.state() is None
    if change == "declared":
        declared = replace(declared, name="stock_v2")
    as_of = BEGIN + timedelta(hours=28 if change == "earlier" else 33)
    written = materialize(place, [declared], frames(kept), as_of=as_of, anew=change == "recomputed").rows[source]
    entities = {row["item"] for row in kept}
    assert (written < len(entities)) if not change else (written == len(entities))
    assert len(place.generations()) == 1
    assert not list(place.folder.rglob("filling.json"))
    assert parity.compare(place, [declared], frames(kept), entities=None).differences == []
    [view] = declared.views
    held = stored_rows(current(place).store, "toys", view, [{"item": item} for item in items])
    assert {item for item, row in zip(items, held, strict=True) if row is not None} == entities


@pytest.mark.parametrize("cut", [0.5, None], ids=["cut in half", "garbage"])
def test_a_damaged_file_is_named_with_the_way_back_to_who_fills_and_who_reads(
    engine: Engine, tmp_path: Path, cut: float | None
) -> None:
    settings = Settings(home=tmp_path / "home", profile="test")
    fill(engine, settings, tmp_path, "toys", 20)
    path = _file(settings)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * cut)] if cut else os.urandom(len(content)))
    with pytest.raises(DamagedError, match=r"online\.db.*goldpath repair"):
        fill(engine, settings, tmp_path, "toys", 21)
    with pytest.raises(FeatureStoreUnavailable, match=r"online\.db.*goldpath repair"):
        OnlineFeatures(settings, service(tmp_path, "toys")).read([{"item": item} for item in ITEMS])


def test_an_emptied_file_is_filled_anew_and_lacks_no_row(engine: Engine, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", profile="test")
    fill(engine, settings, tmp_path, "toys", 20)
    _file(settings).write_bytes(b"")
    assert fill(engine, settings, tmp_path, "toys", 20).rebuilt
    assert stored(settings, "toys") == expected("toys", 20)


def _file(settings: Settings) -> Path:
    """The file of the store of toys, which nothing has open."""
    place = DomainStore(settings, "toys")
    state = place.state()
    assert state is not None
    folder = place.folder / state.generation
    assert not (folder / "online.db-wal").exists()
    return folder / "online.db"


def test_rows_that_the_server_lost_are_written_again(engine: Engine, tmp_path: Path) -> None:
    with redis.running(tmp_path / "redis") as own:
        settings = Settings(home=tmp_path / "home", profile="test", redis_url=SecretStr(own.feast))
        fill(engine, settings, tmp_path, "toys", 20)
        Redis.from_url(own.url).flushall()
        assert fill(engine, settings, tmp_path, "toys", 21).rebuilt
        assert stored(settings, "toys") == expected("toys", 21)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"zone": "silver"}, "zone silver"),
        ({"keys": ["item"]}, "key item"),
        ({"keys": ["event_timestamp"]}, "key event_timestamp"),
        ({"type": "timestamp"}, "column extra has type timestamp"),
        ({"type": "date"}, "column extra has type date"),
        ({"type": "decimal(10,2)"}, r"column extra has type decimal\(10,2\)"),
        ({"key": "boolean"}, "column item has type boolean"),
    ],
    ids=str,
)
def test_a_view_that_feast_cannot_hold_exactly_is_refused_with_the_place(
    tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    names = wrong.get("keys", ["item", "event_timestamp"])
    columns = [column("item", wrong.get("key", "string")), column("event_timestamp", "timestamp")]
    for place, name in enumerate(names, start=1):
        found = next(entry for entry in columns if entry["name"] == name)
        found.update(primaryKey=True, primaryKeyPosition=place, required=True)
    type_ = wrong.get("type", "double")
    extra = {"name": "extra", "logicalType": "number" if type_.startswith("dec") else type_, "description": "x"}
    extra |= {"physicalType": type_} if type_.startswith("dec") else {}
    if type_ == "double":
        extra["logicalType"] = "number"
    contract = toy_contracts.contract(tmp_path, f"{wrong.get('zone', 'gold')}/toys/stock", [*columns, extra])
    with pytest.raises(DefinitionError, match=words) as refused:
        feature_view(contract)
    assert str(contract.path) in refused.value.next_step


def test_two_tables_of_one_view_name_and_two_types_of_one_key_are_refused(tmp_path: Path) -> None:
    one = stock(tmp_path, "toys", column("price", "double"))
    with pytest.raises(DefinitionError, match=r"gold/toys/stock and gold/shop/stock are both its view stock"):
        service(tmp_path, "toys", one, stock(tmp_path, "shop", column("price", "double")))
    other = stock(tmp_path, "toys", column("price", "double"), table="orders", key="bigint")
    with pytest.raises(DefinitionError, match=r"key item is string in gold/toys/stock and bigint in gold/toys/orders"):
        service(tmp_path, "toys", one, other)
