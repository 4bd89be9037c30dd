"""A log of JSON lines is read line by line; a torn line is skipped, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.machine import json_lines


def test_a_log_that_does_not_exist_has_no_records(tmp_path: Path) -> None:
    assert list(json_lines.read(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("torn", [b'{"n": 2', b"\xff\xfe", b"2", b"[]", b"", b'{"n": 2}{"n": 3}'])
def test_the_record_after_a_line_that_is_not_an_object_is_read(tmp_path: Path, torn: bytes) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"n": 1}\n' + torn + b'\n{"n": 4}\n')
    assert [record["n"] for record in json_lines.read(log)] == [1, 4]


def test_lines_that_are_no_records_are_named(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"n": 1}\n{"n": 2\n\n{}\n\xff\n{"n": 3}\n{"n": "4')
    assert json_lines.damaged(log) == [2, 4, 5]
    assert json_lines.damaged(log, lambda record: record["n"] > 1) == [1, 2, 4, 5]


def test_a_reader_continues_after_the_last_complete_line(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"n": 1}\n{"n": 2')
    [(offset, first)] = json_lines.read_from(log, 0)
    with log.open("ab") as end:
        end.write(b'2}\n{"n": 3}\n')
    assert [first, *(record for _, record in json_lines.read_from(log, offset))] == [{"n": 1}, {"n": 22}, {"n": 3}]


@pytest.mark.parametrize("content", [None, b"", b'{"n": 1}\n', b'{"n": 1}\n{"n": 2'])
def test_records_that_are_appended_after_a_torn_line_are_read(tmp_path: Path, content: bytes | None) -> None:
    log = tmp_path / "log.jsonl"
    if content is not None:
        log.write_bytes(content)
    json_lines.append(log, {"n": 3}, {"n": 4})
    assert list(json_lines.read(log))[-2:] == [{"n": 3}, {"n": 4}]
