"""Deliveries land as a whole and once, with their manifest."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import LandingError
from pipelines.landing.delivery import MANIFEST, Manifest, digest
from pipelines.landing.stores import FolderStore, ListedOnce
from pipelines.landing.zone import Landing

DAY = "2013-01-01"

CHECKSUM = digest(b"a\n1\n")


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


def land(landing: Landing, name: str, content: bytes = b"a\n1\n", day: str = DAY, **more: Any) -> Path:
    """Lands a file and returns its path."""
    return Path(landing.root) / landing.deliver(
        domain="toys", source="blocks", interval=day, name=name, content=content, **more
    )


def names(landing: Landing, days: list[str] | None = None) -> list[str]:
    return [Path(delivery.uri).name for delivery in landing.deliveries("toys", "blocks", days)]


def test_a_delivery_is_listed_with_its_day_and_size(landing: Landing) -> None:
    land(landing, "b.csv", b"12345")
    land(landing, "a.csv", b"123", day="2013-01-02")
    deliveries = landing.deliveries("toys", "blocks")
    assert [(d.uri, d.interval, d.bytes) for d in deliveries] == [
        ("toys/blocks/dt=2013-01-01/b.csv", "2013-01-01", 5),
        ("toys/blocks/dt=2013-01-02/a.csv", "2013-01-02", 3),
    ]
    with landing.open(deliveries[0]) as stream:
        assert stream.read() == b"12345"
    assert names(landing, ["2013-01-02"]) == ["a.csv"]
    assert landing.deliveries("toys", "balls") == []


def test_a_reader_sees_a_complete_file_or_none_while_it_is_delivered(landing: Landing) -> None:
    content = os.urandom(1 << 20)
    delivering = threading.Thread(target=lambda: [land(landing, f"{n:02d}.bin", content) for n in range(30)])
    delivering.start()
    seen = set()
    while delivering.is_alive():
        seen |= {delivery.bytes for delivery in landing.deliveries("toys", "blocks")}
    assert len(names(landing)) == 30
    assert seen <= {1 << 20}


def test_files_with_the_names_of_incomplete_ones_are_ignored(landing: Landing) -> None:
    folder = land(landing, "complete.csv").parent
    for name in (".part.csv.4711", "_SUCCESS", ".hidden"):
        (folder / name).write_bytes(b"half")
    (folder / "folder.csv").mkdir()
    assert names(landing) == ["complete.csv"]


def test_a_file_in_the_place_of_a_day_is_ignored(landing: Landing) -> None:
    folder = land(landing, "complete.csv").parent
    (folder.parent / "dt=2013-01-02").write_bytes(b"no folder")
    assert names(landing) == ["complete.csv"]


def test_landing_the_same_bytes_again_changes_nothing(landing: Landing) -> None:
    first = land(landing, "a.csv").stat()
    second = land(landing, "a.csv").stat()
    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)


def test_other_bytes_under_a_landed_name_are_refused(landing: Landing) -> None:
    path = land(landing, "a.csv", b"first")
    with pytest.raises(LandingError, match=r"dt=2013-01-01/a\.csv.*under another name"):
        land(landing, "a.csv", b"second")
    assert path.read_bytes() == b"first"


@pytest.mark.parametrize("name", [".a.csv", "_a.csv", "../a.csv", "day/a.csv", "", f"a.csv{MANIFEST}"])
def test_a_name_that_readers_ignore_is_refused(landing: Landing, name: str) -> None:
    with pytest.raises(LandingError, match="a file name"):
        land(landing, name)
    assert not Path(landing.root).exists()


def test_a_manifest_is_read_with_its_delivery_and_is_not_a_delivery(landing: Landing) -> None:
    manifest = Manifest.of(b"a\n1\n", rows=1, attributes={"language": "en"})
    land(landing, "a.csv", manifest=manifest)
    [delivery] = landing.deliveries("toys", "blocks")
    assert landing.manifest(delivery) == manifest
    assert names(landing) == ["a.csv"]


def test_a_file_is_never_seen_before_its_manifest(landing: Landing) -> None:
    content = os.urandom(1 << 16)
    manifest = Manifest.of(content, rows=1)
    delivering = threading.Thread(
        target=lambda: [land(landing, f"{n:03d}.bin", content, manifest=manifest) for n in range(200)]
    )
    delivering.start()
    while delivering.is_alive():
        assert all(landing.manifest(delivery) == manifest for delivery in landing.deliveries("toys", "blocks"))
    assert len(names(landing)) == 200


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", "[" * 100_000, '{"bytes": 1}', '{"sha256": null}', '{"bytes": "25", "sha256": "x"}',
    '{"bytes": null, "sha256": "x"}', '{"bytes": 2.5, "sha256": "x"}', '{"bytes": 1, "sha256": "x", "rows": "2"}',
    '{"bytes": 1, "sha256": "x", "position": []}', '{"bytes": -1, "sha256": "x"}', '{"bytes": 1, "sha256": "x", "rows": -1}',
    '{"bytes": 1, "sha256": "x", "sequence": 100000000}', '{"bytes": 9223372036854775808, "sha256": "x"}',
    " " * (16 << 20) + "{}", '{"bytes": 1, "sha256": ""}', '{"bytes": 1, "sha256": "zz"}', '{"bytes": 1, "sha256": "\\ud800"}',
], ids=lambda text: text[:40])  # fmt: skip
def test_a_manifest_that_cannot_be_read_is_named_in_the_error(landing: Landing, text: str) -> None:
    path = land(landing, "a.csv")
    path.with_name(path.name + MANIFEST).write_text(text.replace('"x"', f'"{CHECKSUM}"'), encoding="utf-8")
    [delivery] = landing.deliveries("toys", "blocks")
    with pytest.raises(LandingError, match=r"a\.csv\.manifest\.json.*ask the source for it again"):
        landing.manifest(delivery)


def test_unknown_members_of_a_manifest_and_the_case_of_its_checksum_are_ignored(landing: Landing) -> None:
    path = land(landing, "a.csv")
    text = f'{{"bytes": 4, "sha256": "{CHECKSUM.upper()}", "rows": null, "flag": {{"new": [1]}}}}'
    path.with_name(path.name + MANIFEST).write_text(text, encoding="utf-8")
    [delivery] = landing.deliveries("toys", "blocks")
    assert landing.manifest(delivery) == Manifest(bytes=4, sha256=CHECKSUM)


def test_a_landed_manifest_is_a_json_object_with_the_declared_members(landing: Landing) -> None:
    manifest = Manifest.of(b"a\n1\n", rows=1, position={"id": 7}, attributes={"language": None})
    path = land(landing, "a.csv", manifest=manifest)
    record = json.loads(path.with_name(path.name + MANIFEST).read_bytes())
    assert list(record) == ["bytes", "sha256", "rows", "produced_at", "sequence", "position", "attributes"]
    assert (record["bytes"], record["position"], record["attributes"]) == (4, {"id": 7}, {"language": None})


def test_the_position_is_that_of_the_delivery_with_the_highest_number(landing: Landing) -> None:
    assert landing.position("toys", "blocks") is None
    for sequence, day in ((1, "2013-01-02"), (2, "2013-01-01")):
        content = f"a\n{sequence}\n".encode()
        manifest = Manifest.of(content, sequence=sequence, position={"id": 10 * sequence})
        land(landing, "rows.csv", content, day, manifest=manifest)
    assert landing.position("toys", "blocks") == (2, {"id": 20})
    assert names(landing) == ["00000002-rows.csv", "00000001-rows.csv"]


def test_a_manifest_without_its_file_does_not_advance_the_position(landing: Landing) -> None:
    path = land(landing, "rows.csv", manifest=Manifest.of(b"a\n1\n", sequence=1, position={"id": 1}))
    path.with_name(f"00000002-rows.csv{MANIFEST}").write_text(
        '{"bytes": 1, "sha256": "' + CHECKSUM + '", "sequence": 2}'
    )
    assert landing.position("toys", "blocks") == (1, {"id": 1})


def test_a_content_in_a_file_lands_as_it_is(landing: Landing, tmp_path: Path) -> None:
    spooled = tmp_path / "spooled"
    spooled.write_bytes(os.urandom(3 << 20))
    landed = landing.deliver(domain="toys", source="blocks", interval=DAY, name="a.bin", content=spooled)
    assert landing.checksum(landing.deliveries("toys", "blocks")[0]) == digest(spooled)
    assert landed == landing.deliver(domain="toys", source="blocks", interval=DAY, name="a.bin", content=spooled)


@pytest.mark.parametrize("interval", ["", "19-11-2026", "../2026-11-19"])
def test_an_interval_that_is_none_is_refused(landing: Landing, interval: str) -> None:
    with pytest.raises(LandingError, match="the interval"):
        land(landing, "a.csv", day=interval)
    assert not Path(landing.root).exists()


def test_a_long_name_has_no_manifest_and_is_read(landing: Landing) -> None:
    path = land(landing, "a.csv").with_name("n" * 251 + ".csv")
    path.write_bytes(b"a\n1\n")
    [_, delivery] = landing.deliveries("toys", "blocks")
    assert (Path(delivery.uri).name, landing.manifest(delivery)) == (path.name, None)


def test_a_folder_is_listed_once_unless_it_is_beyond_what_is_remembered(tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "b/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    store = ListedOnce(FolderStore(tmp_path), entries=2)
    assert [len(store.entries(folder)) for folder in "ab"] == [2, 1]
    for folder in "ab":
        (tmp_path / folder / "9").touch()
    assert [len(store.entries(folder)) for folder in "ab"] == [2, 2]
