"""Logs of JSON lines, as every reader of one reads it: whole lines alone, in their order.

A process that is killed while it appends leaves a torn line, which was never acknowledged to anybody. A line that is no
JSON object is passed over; the lines after it are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, oldest first; none where there is no such file."""
    for _, record in read_from(path, 0):
        yield record


def read_from(path: Path, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records behind a byte offset, each with the offset behind its line: from there a later call goes on.

    A last line without its line end is left for that call, since its writer may be at work on it.
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
            except ValueError:
                continue
            if isinstance(record, dict):
                yield offset, record
