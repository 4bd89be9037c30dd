"""Reads logs of JSON lines: one JSON object a line, appended by processes that may be killed.

A process that is killed while it appends leaves a torn line, which it has acknowledged to nobody. A line that is not a
JSON object is skipped; the lines after it are read.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def end_torn_line(path: Path) -> None:
    """Ends the torn last line of a killed process, so that the next record is appended as a line of its own."""
    with contextlib.suppress(FileNotFoundError), path.open("rb+") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - 1))
        if log.read(1) not in (b"", b"\n"):
            log.write(b"\n")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of a log, oldest first; none if there is no such file."""
    for _, record in read_from(path, 0):
        yield record


def read_from(path: Path, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the records after a byte offset, each as `(offset, record)` with the byte offset at the end of its line.

    A later call continues from the last offset. A last line without a line end is left for that call, since a process
    may still be writing it.
    """
    try:
        log = path.open("rb")
    except FileNotFoundError:
        return
    with log:
        log.seek(offset)
        for line in log:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield offset, record
