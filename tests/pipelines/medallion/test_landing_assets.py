"""Landing assets: what is new in a source lands once, also after errors and kills."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.errors import LandingError, TransientError
from pipelines.governed.platform import Platform
from pipelines.landing.delivery import MANIFEST
from pipelines.medallion.landing_assets import extract, landing_asset
from pipelines.retrying import Backoff
from pipelines.settings import PROJECT, Settings
from pipelines.sources.base import Extracted, day
from pipelines.sources.logs import LogFiles
from pipelines.sources.sql import SqlCursor, SqlSnapshot
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import TAGS, text

_numbers = itertools.count()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A database with three orders."""
    path = tmp_path / "shop.db"
    change(path, "CREATE TABLE orders (id INTEGER PRIMARY KEY, updated_at TEXT NOT NULL)")
    change(path, *(f"INSERT INTO orders VALUES ({n}, '2013-11-01T00:0{n}:00Z')" for n in (1, 2, 3)))
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def platform(engine: Engine, tmp_path: Path, shop: Path) -> Platform:
    settings = Settings(
        home=tmp_path / "home",
        profile="test",
        clock="2013-11-01T04:00:00+00:00",
        sources={"shop": SecretStr(f"sqlite:///{shop}"), "down": SecretStr("postgresql://u:s3cret@127.0.0.1:1/db")},
    )
    platform = Platform(settings, dict)
    platform.engine = engine
    return platform


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return toy_contracts.contract(
        tmp_path, f"bronze/toys/orders_{next(_numbers)}", [text("id"), text("updated_at")], format="jsonl"
    )


def landed(platform: Platform, contract: Contract) -> list[list[int]]:
    """The ids in each delivery, oldest first."""
    contents = []
    for delivery in platform.landing.deliveries("toys", contract.table.table):
        with platform.landing.open(delivery) as stream:
            contents.append([json.loads(line)["id"] for line in stream])
    return contents


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [event] = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_landing_asset_has_the_owner_tags_and_kind_of_its_source_and_contract(contract: Contract) -> None:
    asset = landing_asset(contract, SqlSnapshot("shop", "orders"), deps=[("serving", "toys", "shop")])
    [spec] = asset.specs
    assert spec.key == dg.AssetKey(["landing", "toys", contract.table.table])
    assert (spec.group_name, spec.owners, spec.kinds) == ("toys_serving", ["team:toy-data"], {"sql"})
    assert TAGS.items() <= spec.tags.items()
    assert (spec.description or "").endswith("Grain: One row per toy.")
    assert {dep.asset_key for dep in spec.deps} == {dg.AssetKey(["serving", "toys", "shop"])}


def test_each_run_lands_the_new_rows_and_records_how_many(
    platform: Platform, contract: Contract, shop: Path, materialize: Materialize
) -> None:
    asset = landing_asset(contract, SqlCursor("shop", "orders", rows_per_file=2))
    recorded = metadata(materialize(platform, [asset]))
    assert {name: recorded[name] for name in ("files", "rows", "sequence", "lag_seconds")} == {
        "files": 2, "rows": 3, "sequence": 2, "lag_seconds": 3 * 3600 + 57 * 60,
    }  # fmt: skip
    assert recorded["bytes"] == sum(d.bytes for d in platform.landing.deliveries("toys", contract.table.table))
    assert recorded["position"]["cursor"] == "2013-11-01T00:03:00Z"
    assert metadata(materialize(platform, [asset]))["files"] == 0
    change(shop, "INSERT INTO orders VALUES (4, '2013-11-01T00:04:00Z')")
    assert metadata(materialize(platform, [asset]))["sequence"] == 3
    assert landed(platform, contract) == [[1, 2], [3], [4]]


def test_a_landed_snapshot_has_a_manifest_with_rows_sequence_and_position(
    platform: Platform, contract: Contract, materialize: Materialize
) -> None:
    materialize(platform, [landing_asset(contract, SqlSnapshot("shop", "orders"))])
    [delivery] = platform.landing.deliveries("toys", contract.table.table)
    manifest = platform.landing.manifest(delivery)
    assert manifest is not None
    assert (manifest.rows, manifest.sequence, manifest.bytes) == (3, 1, delivery.bytes)
    assert manifest.position == {"sha256": manifest.sha256, "interval": "2013-11-01T040000.000000Z"}
    assert delivery.uri == f"toys/{contract.table.table}/dt=2013-11-01T040000.000000Z/00000001-orders.jsonl"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A source that counts to 5, one number per delivery; after some of the numbers a fault occurs once."""

    faults: dict[int, Callable[[], None]] = field(default_factory=dict)
    kind: str = "numbers"
    connection: None = None

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        for n in range(position["n"] + 1 if position else 1, 6):
            yield Extracted(day(now), "number.jsonl", f'{{"id": {n}}}\n'.encode(), 1, {"n": n})
            self.faults.pop(n, lambda: None)()


def fails(error: BaseException) -> Callable[[], None]:
    def fault() -> None:
        raise error

    return fault


WORDS = {"object": "the source", "observed": "half an answer", "expected": "a complete answer", "next_step": "retry"}


def test_after_a_transient_error_dagster_retries_behind_what_has_landed(
    platform: Platform, contract: Contract, materialize: Materialize
) -> None:
    asset = landing_asset(contract, Numbers({2: fails(TransientError(**WORDS))}))
    result = materialize(platform, [asset])
    steps = [event.event_type_value.removeprefix("STEP_") for event in result.all_events if event.is_step_event]
    assert [step for step in steps if "RE" in step or "SUCC" in step][-3:] == ["UP_FOR_RETRY", "RESTARTED", "SUCCESS"]
    assert landed(platform, contract) == [[1], [2], [3], [4], [5]]
    assert metadata(result)["files"] == 3


def test_a_terminal_error_keeps_what_has_landed_and_is_not_retried(
    platform: Platform, contract: Contract, materialize: Materialize
) -> None:
    asset = landing_asset(contract, Numbers({2: fails(LandingError(**WORDS))}))
    result = materialize(platform, [asset], raise_on_error=False)
    assert not result.success
    assert [event.event_type_value for event in result.all_events if "RETRY" in event.event_type_value] == []
    assert landed(platform, contract) == [[1], [2]]


def test_after_a_run_that_was_killed_between_two_deliveries_the_next_lands_the_rest(
    platform: Platform, contract: Contract, materialize: Materialize
) -> None:
    asset = landing_asset(contract, Numbers({3: fails(KeyboardInterrupt())}))
    with pytest.raises(KeyboardInterrupt):
        materialize(platform, [asset])
    assert landed(platform, contract) == [[1], [2], [3]]
    materialize(platform, [asset])
    assert landed(platform, contract) == [[1], [2], [3], [4], [5]]


KILLED = """
import sys
from pipelines.governed.platform import Platform
from pipelines.medallion.landing_assets import extract
from pipelines.settings import PROJECT, Settings
from pipelines.sources.sql import SqlCursor
from pipelines.tables import TableId

settings = Settings(home=sys.argv[1], clock="2013-11-01T04:00:00+00:00", sources={"shop": sys.argv[2]})
platform = Platform(settings, dict)
extract(platform, TableId.parse(sys.argv[3]), SqlCursor("shop", "orders", rows_per_file=1), now=platform.now())
"""


def test_after_a_process_that_was_killed_while_it_landed_the_next_lands_the_rest(
    platform: Platform, contract: Contract, shop: Path
) -> None:
    change(
        shop, *(f"INSERT INTO orders VALUES ({n}, '2013-11-02T00:{n // 60:02d}:{n % 60:02d}Z')" for n in range(4, 400))
    )
    arguments = [str(platform.settings.root), f"sqlite:///{shop}", str(contract.table)]
    root = PROJECT
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], cwd=root) as process:
        while process.poll() is None and len(platform.landing.deliveries("toys", contract.table.table)) < 3:
            time.sleep(0.01)
        process.kill()
    before = len(landed(platform, contract))
    assert 3 <= before < 399
    done = extract(platform, contract.table, SqlCursor("shop", "orders", rows_per_file=1), now=platform.now())
    assert (done.files, done.sequence) == (399 - before, 399)
    assert landed(platform, contract) == [[n] for n in range(1, 400)]


def test_after_a_run_that_was_killed_between_a_manifest_and_its_file_the_next_lands_the_file(
    platform: Platform, contract: Contract, materialize: Materialize
) -> None:
    """A manifest without its file is not a position."""
    asset = landing_asset(contract, Numbers({2: fails(LandingError(**WORDS))}))
    materialize(platform, [asset], raise_on_error=False)
    uri = f"toys/{contract.table.table}/dt=2013-11-01/00000003-number.jsonl"
    platform.landing.store.put(uri + MANIFEST, b'{"bytes": 10, "sha256": "half", "sequence": 3, "position": {"n": 3}}')
    materialize(platform, [asset])
    assert landed(platform, contract) == [[1], [2], [3], [4], [5]]
    manifests = [platform.landing.manifest(d) for d in platform.landing.deliveries("toys", contract.table.table)]
    assert [(m.sequence, m.position["n"]) for m in manifests if m] == [(n, n) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("connection", "words"), [("down", "Connection refused"), ("elsewhere", "GOLDPATH_SOURCES names down, shop")]
)
def test_a_password_is_in_no_error_and_in_no_event(
    platform: Platform, contract: Contract, materialize: Materialize, connection: str, words: str
) -> None:
    asset = landing_asset(contract, SqlSnapshot(connection, "orders", backoff=Backoff(attempts=1)))
    result = materialize(platform, [asset], raise_on_error=False)
    assert not result.success
    events = "".join(str(event) for event in result.all_events) + json.dumps(list(platform.lineage.events()))
    assert f"connection '{connection}'" in events
    assert words in events
    assert "s3cret" not in events


def test_a_source_without_a_connection_reads_below_the_platforms_home(
    platform: Platform, contract: Contract, materialize: Materialize
) -> None:
    folder = platform.settings.root / "answers"
    folder.mkdir(parents=True)
    (folder / "2013-10-31.jsonl").write_text('{"id": 1}\n{"id": 2}\n', encoding="utf-8")
    materialize(platform, [landing_asset(contract, LogFiles(Path("answers"), "*.jsonl"))])
    assert landed(platform, contract) == [[1, 2]]


def test_two_extractions_at_once_land_each_number_once(platform: Platform, contract: Contract) -> None:
    """The second waits for the first and begins behind it."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(extract, platform, contract.table, Numbers(), now=platform.now()) for _ in range(2)]
    assert sorted(run.result().files for run in runs) == [0, 5]
    assert landed(platform, contract) == [[1], [2], [3], [4], [5]]


def test_the_lag_is_that_of_the_newest_record(platform: Platform, contract: Contract, materialize: Materialize) -> None:
    asset = landing_asset(contract, SqlCursor("shop", "orders", lateness=timedelta(0)))
    newest = datetime(2013, 11, 1, 0, 3, tzinfo=UTC)
    assert metadata(materialize(platform, [asset]))["lag_seconds"] == (platform.now() - newest).total_seconds()
