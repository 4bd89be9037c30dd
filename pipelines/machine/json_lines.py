"""Logs of JSON lines: one JSON object a line, appended by processes that may be killed.

A process that is killed while it appends leaves a torn line, which it has acknowledged to nobody. The next record
begins on a line of its own. A line that is no record is skipped, and `damaged` names it; the lines after it are read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

#: Whether an object is a record of the log: it has what the log's readers look at.
IsRecord: TypeAlias = Callable[[dict[str, Any]], bool]


def append(path: Path, *records: Mapping[str, Any]) -> None:
    """Appends records by one `write`, so that those of several processes do not mix; creates the file's folder."""
    lines = "".join(f"{json.dumps(record)}\n" for record in records).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # separates them from the torn line of a killed writer
        written = os.write(descriptor, lines)
    finally:
        os.close(descriptor)
    if written != len(lines):
        raise OSError(f"only {written} of {len(lines)} bytes were written to {path}")


def read(path: Path, is_record: IsRecord = bool) -> Iterator[dict[str, Any]]:
    """Yields the records of a log, oldest first; none if there is no such file."""
    for _, record in read_from(path, 0, is_record):
        yield record


def read_from(path: Path, offset: int, is_record: IsRecord = bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the records after a byte offset, each as `(offset, record)` with the byte offset at the end of its line.

    A later call continues from the last offset. A last line without a line end is left for that call, since a process
    may still be writing it.
    """
    for end, line in _lines(path, offset):
        record = _record(line, is_record)
        if record is not None:
            yield end, record


def damaged(path: Path, is_record: IsRecord = bool) -> list[int]:
    """The numbers, from 1 on, of the complete lines that are no records; an empty line is none of them."""
    lines = enumerate(_lines(path, 0), 1)
    return [number for number, (_, line) in lines if line.strip() and _record(line, is_record) is None]


def _lines(path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    """The complete lines after a byte offset, each with the offset behind it."""
    try:
        log = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return
    with log:
        log.seek(offset)
        for line in log:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield offset, line


def _record(line: bytes, is_record: IsRecord) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        return record if isinstance(record, dict) and is_record(record) else None
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):  # no JSON, or of another shape
        return None
