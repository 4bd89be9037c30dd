"""Deliveries land whole and once, and what was planned is taken exactly once."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import LandingError
from pipelines.landing import Batch, Landing, Ledger

DAY = "2013-01-01"


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def land(landing: Landing, name: str, content: bytes = b"a\n1\n", day: str = DAY) -> Path:
    return landing.deliver(domain="toys", source="blocks", interval=day, name=name, content=content)


def names(landing: Landing, days: list[str] | None = None) -> list[str]:
    return [Path(delivery.uri).name for delivery in landing.deliveries("toys", "blocks", days)]


def plan(ledger: Ledger, landing: Landing, committed: int = -1) -> Batch | None:
    return ledger.plan(landing, landing.deliveries("toys", "blocks"), committed=committed)


def taken(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [Path(delivery.uri).name for delivery in batch.deliveries]


def test_a_delivery_is_listed_with_its_day_and_size(landing: Landing) -> None:
    land(landing, "b.csv", b"12345")
    land(landing, "a.csv", b"123", day="2013-01-02")
    found = landing.deliveries("toys", "blocks")
    assert [(d.uri, d.interval, d.bytes) for d in found] == [
        ("toys/blocks/dt=2013-01-01/b.csv", "2013-01-01", 5),
        ("toys/blocks/dt=2013-01-02/a.csv", "2013-01-02", 3),
    ]
    assert landing.path(found[0]).read_bytes() == b"12345"
    assert names(landing, ["2013-01-02"]) == ["a.csv"]
    assert landing.deliveries("toys", "balls") == []


def test_whoever_looks_while_a_file_is_delivered_sees_all_of_it_or_nothing(landing: Landing) -> None:
    content = os.urandom(1 << 20)
    delivering = threading.Thread(target=lambda: [land(landing, f"{n:02d}.bin", content) for n in range(30)])
    delivering.start()
    seen = set()
    while delivering.is_alive():
        seen |= {delivery.bytes for delivery in landing.deliveries("toys", "blocks")}
    assert len(names(landing)) == 30
    assert seen <= {1 << 20}


def test_names_of_incomplete_files_are_left_alone(landing: Landing) -> None:
    folder = land(landing, "whole.csv").parent
    for name in (".part.csv.4711", "_SUCCESS", ".hidden"):
        (folder / name).write_bytes(b"half")
    (folder / "folder.csv").mkdir()
    assert names(landing) == ["whole.csv"]


def test_links_are_left_alone(landing: Landing, tmp_path: Path) -> None:
    folder = land(landing, "whole.csv").parent
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "passwords.csv").write_bytes(b"a\n1\n")
    (folder / "link.csv").symlink_to(secret / "passwords.csv")
    (folder.parent / "dt=2013-01-02").symlink_to(secret, target_is_directory=True)
    assert names(landing) == ["whole.csv"]


def test_a_file_where_a_day_should_be_is_left_alone(landing: Landing) -> None:
    folder = land(landing, "whole.csv").parent
    (folder.parent / "dt=2013-01-02").write_bytes(b"no folder")
    assert names(landing) == ["whole.csv"]


def test_the_same_bytes_again_change_nothing(landing: Landing) -> None:
    first = land(landing, "a.csv").stat()
    second = land(landing, "a.csv").stat()
    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)


def test_other_bytes_under_a_name_that_landed_are_refused(landing: Landing) -> None:
    path = land(landing, "a.csv", b"first")
    with pytest.raises(LandingError, match=r"dt=2013-01-01/a\.csv.*under another name"):
        land(landing, "a.csv", b"second")
    assert path.read_bytes() == b"first"


@pytest.mark.parametrize("name", [".a.csv", "_a.csv", "../a.csv", "day/a.csv", ""])
def test_a_name_that_could_not_be_found_again_is_refused(landing: Landing, name: str) -> None:
    with pytest.raises(LandingError, match="a file name"):
        land(landing, name)
    assert not landing.root.exists()


def test_a_batch_names_its_files_and_their_checksums(landing: Landing, ledger: Ledger) -> None:
    land(landing, "a.csv")
    batch = plan(ledger, landing)
    assert batch is not None
    assert (batch.number, batch.ingest_id, taken(batch)) == (0, "00000000", ["a.csv"])
    assert batch.deliveries[0].sha256 == landing.checksum(batch.deliveries[0])
    assert ledger.batches() == [batch]


def test_what_was_committed_is_not_planned_again(landing: Landing, ledger: Ledger) -> None:
    land(landing, "a.csv")
    plan(ledger, landing)
    assert plan(ledger, landing, committed=0) is None
    land(landing, "b.csv", b"new")
    second = plan(ledger, landing, committed=0)
    assert (second and second.number, taken(second)) == (1, ["b.csv"])


def test_a_planned_batch_survives_a_crash_and_is_taken_as_it_was_planned(landing: Landing, ledger: Ledger) -> None:
    land(landing, "a.csv")
    planned = plan(ledger, landing)
    land(landing, "b.csv", b"arrived after the crash")
    assert plan(Ledger(ledger.folder), landing) == planned
    assert taken(plan(Ledger(ledger.folder), landing, committed=0)) == ["b.csv"]


def test_a_crash_after_the_commit_takes_nothing_twice(landing: Landing, ledger: Ledger) -> None:
    land(landing, "a.csv")
    plan(ledger, landing)
    assert plan(Ledger(ledger.folder), landing, committed=0) is None


def test_the_same_bytes_under_another_name_are_a_duplicate(landing: Landing, ledger: Ledger) -> None:
    land(landing, "a.csv")
    land(landing, "a_again.csv")
    land(landing, "b.csv", b"other")
    batch = plan(ledger, landing)
    assert (taken(batch), batch and batch.duplicates) == (
        ["a.csv", "b.csv"], ("toys/blocks/dt=2013-01-01/a_again.csv",),
    )  # fmt: skip
    land(landing, "a_later.csv")
    assert plan(ledger, landing, committed=0) is None
    assert ledger.batches()[-1].duplicates == (
        "toys/blocks/dt=2013-01-01/a_again.csv", "toys/blocks/dt=2013-01-01/a_later.csv",
    )  # fmt: skip


def test_a_file_that_changed_after_it_was_taken_is_refused(landing: Landing, ledger: Ledger) -> None:
    path = land(landing, "a.csv", b"first")
    plan(ledger, landing)
    path.write_bytes(b"changed")
    with pytest.raises(LandingError, match=r"a\.csv.*changed after it was taken"):
        plan(ledger, landing, committed=0)


def test_a_file_that_was_only_touched_is_taken_once(landing: Landing, ledger: Ledger) -> None:
    path = land(landing, "a.csv")
    plan(ledger, landing)
    os.utime(path, (1, 1))
    assert plan(ledger, landing, committed=0) is None


def test_only_days_that_were_asked_for_are_planned(landing: Landing, ledger: Ledger) -> None:
    land(landing, "a.csv")
    land(landing, "b.csv", b"other", day="2013-01-02")
    found: list[Any] = landing.deliveries("toys", "blocks", ["2013-01-02"])
    assert taken(ledger.plan(landing, found, committed=-1)) == ["b.csv"]
    assert taken(plan(ledger, landing, committed=0)) == ["a.csv"]


def test_a_half_written_batch_is_no_batch(landing: Landing, ledger: Ledger) -> None:
    land(landing, "a.csv")
    ledger.folder.mkdir()
    (ledger.folder / ".00000000.4711").write_text('{"number": 0, "deliv', encoding="utf-8")
    assert ledger.batches() == []
    assert taken(plan(ledger, landing)) == ["a.csv"]
