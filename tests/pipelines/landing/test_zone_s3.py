"""A landing zone in a bucket does what one in a folder does, and tables are made from it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.session import Engine
from pipelines.errors import LandingError, TransientError
from pipelines.governed.platform import Platform
from pipelines.landing.delivery import MANIFEST, Manifest
from pipelines.landing.zone import Landing
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, text
from tests.servers import s3
from tests.servers.s3 import S3

DAY, NEXT = "2013-01-01", "2013-01-02"
BLOCKS = ("toys", "blocks")


@pytest.fixture(scope="module", params=["moto", "versitygw"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3.running(request.param, tmp_path_factory.mktemp("s3")) as started:
        yield started


def settings(server: S3, home: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "home": home,
        "profile": "test",
        "landing_uri": f"s3://{server.bucket}/{home.name}/landing",
        "landing_s3_endpoint": server.endpoint,
        "landing_s3_region": server.region,
        "landing_s3_access_key": server.access_key,
        "landing_s3_secret_key": server.secret_key,
    }
    return Settings(**values | changes)


@pytest.fixture
def platform(server: S3, tmp_path: Path) -> Platform:
    return Platform(settings(server, tmp_path), dict)


@pytest.fixture
def landing(platform: Platform) -> Landing:
    return platform.landing


def land(landing: Landing, name: str, content: bytes | Path = b"a\n1\n", day: str = DAY, **more: Any) -> str:
    return landing.deliver(domain="toys", source="blocks", interval=day, name=name, content=content, **more)


def names(landing: Landing) -> list[str]:
    return [delivery.uri.rpartition("/")[2] for delivery in landing.deliveries(*BLOCKS)]


def test_a_delivery_is_listed_with_its_day_and_size_and_can_be_read(landing: Landing) -> None:
    assert land(landing, "b.csv", b"12345") == "toys/blocks/dt=2013-01-01/b.csv"
    land(landing, "a b+ü.csv", b"123", day=NEXT)
    deliveries = landing.deliveries(*BLOCKS)
    assert [(d.uri, d.interval, d.bytes) for d in deliveries] == [
        ("toys/blocks/dt=2013-01-01/b.csv", DAY, 5),
        ("toys/blocks/dt=2013-01-02/a b+ü.csv", NEXT, 3),
    ]
    with landing.open(deliveries[0]) as stream:
        assert stream.read(2) == b"12"
        stream.seek(1)
        assert stream.read() == b"2345"
    assert landing.checksum(deliveries[1]) == hashlib.sha256(b"123").hexdigest()
    assert [d.interval for d in landing.deliveries(*BLOCKS, [NEXT])] == [NEXT]
    assert (landing.sources("toys"), landing.deliveries("toys", "balls")) == (["blocks"], [])


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a#b",
        "a%b",
        "a%20b",
        "a?b",
        "a+b",
        "é",
        "e\u0301",
        "a&b=c;d",
        "a'b\"",
        "[a]",
        "a:b",
        "a\\b",
        "<a>",
        "日本",
    ],
)
def test_a_file_of_any_name_lands_and_is_read_under_that_name(landing: Landing, name: str) -> None:
    uri = land(landing, name, name.encode())
    [delivery] = landing.deliveries(*BLOCKS)
    assert (delivery.uri, uri.rpartition("/")[2], landing.now(delivery)) == (uri, name, delivery)
    with landing.open(delivery) as stream:
        assert stream.read() == name.encode()


def test_a_name_with_a_line_break_is_refused(landing: Landing) -> None:
    with pytest.raises(LandingError, match="no text"):
        land(landing, "a\nb.csv")
    assert names(landing) == []


def test_landing_the_same_bytes_again_changes_nothing_and_others_are_refused(landing: Landing) -> None:
    land(landing, "a.csv", b"first")
    before = landing.deliveries(*BLOCKS)
    assert land(landing, "a.csv", b"first") == before[0].uri
    assert landing.deliveries(*BLOCKS) == before
    for other in (b"other", b"longer than the first"):
        with pytest.raises(LandingError, match="another file of this name has landed"):
            land(landing, "a.csv", other)
    assert landing.checksum(before[0]) == hashlib.sha256(b"first").hexdigest()


def test_a_large_file_lands_from_disk_as_it_is(landing: Landing, tmp_path: Path) -> None:
    content = os.urandom(23 << 20)
    path = tmp_path / "large.bin"
    path.write_bytes(content)
    land(landing, "large.bin", path)
    [delivery] = landing.deliveries(*BLOCKS)
    assert (delivery.bytes, landing.checksum(delivery)) == (23 << 20, hashlib.sha256(content).hexdigest())
    assert land(landing, "large.bin", path) == delivery.uri


def test_a_file_that_cannot_be_read_lands_nothing(landing: Landing, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        land(landing, "gone.csv", tmp_path / "gone.csv")
    with pytest.raises(TransientError, match="Input/output error"):
        land(landing, "broken.csv", Path("/proc/self/mem"))  # opens, and then fails to give its first byte
    assert landing.deliveries(*BLOCKS) == []


def test_a_reader_sees_complete_files_or_none_while_they_are_delivered(landing: Landing) -> None:
    content = os.urandom(6 << 20)
    delivering = threading.Thread(target=lambda: [land(landing, f"{n}.bin", content) for n in range(4)])
    delivering.start()
    seen = set()
    while delivering.is_alive():
        seen |= {delivery.bytes for delivery in landing.deliveries(*BLOCKS)}
    assert len(names(landing)) == 4
    assert seen <= {6 << 20}


def test_a_manifest_is_read_with_its_delivery_and_is_not_a_delivery(landing: Landing) -> None:
    content = b'{"n": 1}\n'
    manifest = Manifest.of(
        content, rows=1, sequence=3, position={"0": 17}, attributes={"newest": "2013-01-01T00:00:00Z"}
    )
    land(landing, "a.jsonl", content, manifest=manifest)
    land(landing, "b.jsonl")
    numbered, other = landing.deliveries(*BLOCKS)
    assert numbered.uri.endswith("/00000003-a.jsonl")
    assert (landing.manifest(numbered), landing.manifest(other)) == (manifest, None)


def test_the_position_is_that_of_the_delivery_with_the_highest_number(landing: Landing) -> None:
    assert landing.position(*BLOCKS) is None
    for sequence, day in ((1, NEXT), (2, NEXT), (10, DAY)):
        content = str(sequence).encode()
        manifest = Manifest.of(content, sequence=sequence, position={"0": sequence})
        land(landing, "a.jsonl", content, day=day, manifest=manifest)
    assert landing.position(*BLOCKS) == (10, {"0": 10})


def test_a_manifest_without_its_file_does_not_advance_the_position(landing: Landing) -> None:
    """A run that is killed between the two leaves it."""
    landing.store.put(f"toys/blocks/dt={DAY}/00000001-a.jsonl{MANIFEST}", b"{}")
    assert (landing.position(*BLOCKS), names(landing)) == (None, [])
    content = b"{}\n"
    land(landing, "a.jsonl", content, manifest=Manifest.of(content, sequence=1, position={"0": 1}))
    assert landing.position(*BLOCKS) == (1, {"0": 1})


def test_two_prefixes_of_one_bucket_are_separate(server: S3, tmp_path: Path) -> None:
    one, other = (
        Platform(settings(server, tmp_path, landing_uri=f"s3://{server.bucket}/{tmp_path.name}/{name}"), dict).landing
        for name in ("one", "one-more")
    )
    land(one, "a.csv")
    assert (names(one), names(other)) == (["a.csv"], [])


def test_a_missing_bucket_is_named_in_the_error(server: S3, tmp_path: Path) -> None:
    nowhere = Platform(settings(server, tmp_path, landing_uri="s3://nowhere/landing"), dict).landing
    with pytest.raises(LandingError, match="s3://nowhere/landing.*GOLDPATH_LANDING_URI") as caught:
        land(nowhere, "a.csv")
    assert server.secret_key not in str(caught.value)


def test_an_endpoint_that_does_not_answer_raises_a_transient_error(server: S3, tmp_path: Path) -> None:
    away = Platform(settings(server, tmp_path, landing_s3_endpoint="http://127.0.0.1:1"), dict).landing
    with pytest.raises(TransientError, match="an endpoint that answers") as caught:
        away.deliveries(*BLOCKS)
    assert server.secret_key not in str(caught.value)


@pytest.mark.parametrize("change", ["landing_s3_access_key", "landing_s3_secret_key"])
def test_wrong_keys_are_refused_and_not_shown(tmp_path: Path, change: str) -> None:
    with s3.running("versitygw", tmp_path / "server") as server:
        wrong = settings(server, tmp_path, **{change: "not-the-key-9876"})
        landing = Platform(wrong, dict).landing
        attempts: list[Callable[[], Any]] = [lambda: land(landing, "a.csv"), lambda: landing.deliveries(*BLOCKS)]
        for attempt in attempts:
            with pytest.raises(LandingError, match=r"keys that may read and write.*GOLDPATH_LANDING_S3_") as caught:
                attempt()
            assert not any(key in str(caught.value) for key in ("not-the-key-9876", server.secret_key))


def test_deliveries_in_a_bucket_become_tables(
    server: S3, engine: Engine, tmp_path: Path, materialize: Materialize
) -> None:
    columns = [text("part", primaryKey=True, primaryKeyPosition=1, required=True), integer("holes")]
    name = f"blocks_{tmp_path.name}".replace("-", "_").replace("[", "_").replace("]", "_")
    bronze = toy_contracts.contract(tmp_path, f"bronze/toys/{name}", [text("part"), text("holes")])
    silver = toy_contracts.contract(tmp_path, f"silver/toys/{name}", columns, winner="_ingest_id desc")
    platform = Platform(settings(server, tmp_path), lambda: {bronze.table: bronze, silver.table: silver})
    platform.engine = engine
    platform.landing.deliver(
        domain="toys", source=name, interval=DAY, name="a.csv", content=b"part,holes\nbrick,4\nplate,x\nragged\n"
    )
    assets = [bronze_asset(bronze), silver_asset(silver)(lambda rows: rows)]
    for _ in range(2):
        assert materialize(platform, assets).success
    house = platform.lakehouse

    def rows(zone: Any) -> list[dict[str, Any]]:
        return house.snapshot(TableId(zone, "toys", name)).arrow().to_pylist()

    assert [(row["part"], row["holes"]) for row in rows("silver")] == [("brick", 4)]
    assert (len(rows("bronze")), len(rows("quarantine"))) == (3, 2)
    assert {row["_source_uri"] for row in rows("bronze")} == {f"toys/{name}/dt={DAY}/a.csv"}
