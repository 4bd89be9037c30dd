"""Documents land unchanged, each once for each of its contents."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.sources.documents import Documents
from tests.pipelines.sources.landed import Landed

SETTLE = timedelta(milliseconds=30)
SOURCE = Documents(Path("inbox"), settle=SETTLE)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox" / "2013").mkdir(parents=True)
    return tmp_path / "inbox"


@pytest.fixture
def landed(tmp_path: Path) -> Landed:
    return Landed(str(tmp_path))


def settled(landed: Landed, *, stop_after: int | None = None) -> list[bytes]:
    """Takes the documents that are in the inbox, once they have settled."""
    time.sleep(2 * SETTLE.total_seconds())
    return landed.take(SOURCE, stop_after=stop_after)


def test_any_bytes_land_with_their_name_and_media_type(landed: Landed, inbox: Path) -> None:
    (inbox / "2013" / "Bericht Zürich.pdf").write_bytes(b"%PDF\0\xff\n")
    (inbox / "raw").write_bytes(b"")
    assert sorted(settled(landed)) == [b"", b"%PDF\0\xff\n"]
    assert sorted(map(str, landed.attributes)) == [
        "{'name': '2013/Bericht Zürich.pdf', 'media_type': 'application/pdf'}",
        "{'name': 'raw', 'media_type': 'application/octet-stream'}",
    ]
    assert sorted(landed.names) == ["Bericht_Z_rich_46a683de3a1c.pdf", "raw_e3b0c44298fc"]
    assert settled(landed) == []


def test_a_new_document_with_an_old_modification_time_lands(landed: Landed, inbox: Path) -> None:
    (inbox / "a.txt").write_text("a", encoding="utf-8")
    settled(landed)
    (inbox / "b.txt").write_text("b", encoding="utf-8")
    os.utime(inbox / "b.txt", (0, 0))
    assert settled(landed) == [b"b"]


def test_a_document_that_changed_lands_again(landed: Landed, inbox: Path) -> None:
    (inbox / "a.txt").write_text("a", encoding="utf-8")
    settled(landed)
    (inbox / "a.txt").write_text("b", encoding="utf-8")
    assert settled(landed) == [b"b"]
    assert len(set(landed.names)) == 2


def test_a_document_that_has_not_settled_waits(landed: Landed, inbox: Path) -> None:
    patient = Documents(Path("inbox"), settle=timedelta(hours=1))
    (inbox / "a.txt").write_text("a", encoding="utf-8")
    assert landed.take(patient) == []
    assert settled(landed) == [b"a"]


def test_after_a_killed_run_the_next_lands_the_rest(landed: Landed, inbox: Path) -> None:
    for n in range(20):
        (inbox / f"{n}.txt").write_text(str(n), encoding="utf-8")
    first = settled(landed, stop_after=7)
    second = settled(landed)
    assert (len(first), len(second)) == (7, 13)
    assert {int(text) for text in first + second} == set(range(20))


def test_hidden_files_and_links_do_not_land(landed: Landed, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (inbox / "link").symlink_to(tmp_path / "secret")
    (inbox / ".part").write_text("part", encoding="utf-8")
    assert settled(landed) == []


def test_without_a_folder_nothing_lands(landed: Landed) -> None:
    assert landed.take(SOURCE) == []
