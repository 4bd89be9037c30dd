"""Logs land as deliveries of new complete lines: nothing is lost, and nothing lands twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.sources.logs import HEAD_BYTES, LogFiles
from tests.pipelines.sources.landed import Landed

SOURCE = LogFiles(Path("log"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log" / "app.log"


@pytest.fixture
def landed(tmp_path: Path) -> Landed:
    return Landed(str(tmp_path))


def append(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8", newline="") as handle:
        handle.write(text)


def test_each_delivery_has_the_new_lines(landed: Landed, log: Path) -> None:
    append(log, "1\n2\n")
    assert landed.take(SOURCE) == [b"1\n2\n"]
    append(log, "3\n")
    assert landed.take(SOURCE) == [b"3\n"]
    assert landed.take(SOURCE) == []
    assert landed.names == ["app_000000000000.log", "app_000000000004.log"]
    assert landed.attributes[1] == {"file": "app.log", "offset": 4}


def test_a_line_without_its_end_waits(landed: Landed, log: Path) -> None:
    append(log, '1\n{"half": ')
    assert landed.take(SOURCE) == [b"1\n"]
    assert landed.take(SOURCE) == []
    append(log, "true}\n")
    assert landed.take(SOURCE) == [b'{"half": true}\n']


def test_a_log_with_a_day_in_its_name_lands_under_that_day(landed: Landed, log: Path) -> None:
    for day in ("2013-10-30", "2013-10-31"):
        append(log.with_name(f"{day}.jsonl"), f'"{day}"\n')
    append(log.with_name("app.jsonl"), "1\n")
    landed.take(LogFiles(Path("log"), "*.jsonl"))
    assert landed.intervals == ["2013-10-30", "2013-10-31", "2013-11-01"]


def test_after_a_run_that_is_killed_between_two_files_the_next_lands_the_rest(landed: Landed, log: Path) -> None:
    append(log.with_name("a.log"), "1\n")
    append(log.with_name("b.log"), "2\n")
    assert landed.take(SOURCE, stop_after=1) == [b"1\n"]
    append(log.with_name("a.log"), "3\n")
    assert landed.take(SOURCE) == [b"3\n", b"2\n"]


def test_equal_lines_are_all_delivered(landed: Landed, log: Path) -> None:
    append(log, "same\nsame\n")
    landed.take(SOURCE)
    append(log, "same\nsame\n")
    assert landed.take(SOURCE) == [b"same\nsame\n"]
    assert len(set(landed.names)) == 2


def test_a_file_is_delivered_in_parts_that_end_with_a_line(landed: Landed, log: Path) -> None:
    source = replace(SOURCE, bytes_per_file=10)
    append(log, "1234\n5678\n90\n" + "x" * 25 + "\nlast\n")
    parts = landed.take(source)
    assert b"".join(parts) == log.read_bytes()
    assert parts == [b"1234\n5678\n", b"90\n", b"x" * 25 + b"\n", b"last\n"]
    assert landed.take(source) == []


def test_only_a_line_feed_ends_a_line(landed: Landed, log: Path) -> None:
    log.write_bytes(b"a\rb\xff\x00\n\r\n")
    assert landed.take(SOURCE) == [b"a\rb\xff\x00\n\r\n"]


def test_a_renamed_log_is_continued_under_its_new_name(landed: Landed, log: Path) -> None:
    append(log, "1\n")
    landed.take(SOURCE)
    append(log, "2\n")
    log.rename(log.with_name("app.log.1"))
    append(log, "1\n")
    assert sorted(landed.take(SOURCE)) == [b"1\n", b"2\n"]
    assert landed.take(SOURCE) == []


def test_a_truncated_log_is_read_from_its_start(landed: Landed, log: Path) -> None:
    append(log, "1\n2\n")
    landed.take(SOURCE)
    log.write_text("", encoding="utf-8")
    assert landed.take(SOURCE) == []
    append(log, "3\n")
    assert landed.take(SOURCE) == [b"3\n"]


def test_a_truncated_log_that_has_grown_past_the_offset_is_read_from_its_start(landed: Landed, log: Path) -> None:
    append(log, "1\n2\n")
    landed.take(SOURCE)
    log.write_text("3\n4\n5\n6\n", encoding="utf-8")
    assert landed.take(SOURCE) == [b"3\n4\n5\n6\n"]


def test_a_long_log_that_was_copied_and_truncated_lands_the_rest_of_the_copy_and_its_new_start(
    landed: Landed, log: Path
) -> None:
    append(log, "x" * HEAD_BYTES + "\n")
    landed.take(SOURCE)
    append(log, "rest\n")
    shutil.copy(log, log.with_name("app.log.1"))
    log.write_text("start\n", encoding="utf-8")
    assert landed.take(SOURCE) == [b"start\n", b"rest\n"]
    assert landed.take(SOURCE) == []


def test_another_file_with_the_inode_of_a_deleted_one_is_read_from_its_start(landed: Landed, log: Path) -> None:
    append(log, "old\n")
    landed.take(SOURCE)
    inode = log.stat().st_ino
    assert landed.position is not None
    log.unlink()
    other = log.with_name("other.log")
    append(other, "new\nlines\n")
    landed.position["files"]["app.log"]["inode"] = other.stat().st_ino or inode
    assert landed.take(SOURCE) == [b"new\nlines\n"]


def test_a_small_log_that_begins_like_a_deleted_one_is_read_from_its_start(landed: Landed, log: Path) -> None:
    append(log, "header\n")
    landed.take(SOURCE)
    append(log.with_name("other.log"), "header\n1\n")
    log.unlink()
    assert landed.take(SOURCE) == [b"header\n1\n"]


def test_without_a_log_nothing_lands(landed: Landed) -> None:
    assert landed.take(LogFiles(Path("nowhere"))) == []
