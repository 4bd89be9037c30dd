"""Logs: one record per line, its columns the named groups of the contract's line pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.landing.formats.base import BLOCK_BYTES, DeliveredFile, Piece, shown
from pipelines.landing.formats.opening import lines, text_stream

NAMES_EVERY_COLUMN = True
LINES_PER_PIECE = 20_000


def read(file: DeliveredFile) -> Iterator[Piece]:
    """The lines of a log; blank lines are skipped. A line that the whole pattern does not match is malformed."""
    pattern = re.compile(file.contract.line_pattern or "")
    file.header(list(pattern.groupindex))
    rows: list[int] = []
    records: list[dict[str, str | None]] = []
    malformed: dict[int, str] = {}
    size = 0
    with text_stream(file) as stream:
        for number, line in lines(stream):
            if not line.strip():
                continue
            text = shown(line)
            match = pattern.fullmatch(text) if "\0" not in text else None
            if match is None:
                malformed[len(rows)] = text
            rows.append(number)
            records.append(match.groupdict() if match else {})
            size += len(line)
            if len(rows) == LINES_PER_PIECE or size > BLOCK_BYTES:
                yield _piece(pattern, rows, records, malformed)
                rows, records, malformed, size = [], [], {}, 0
    if rows:
        yield _piece(pattern, rows, records, malformed)


def _piece(
    pattern: re.Pattern[str], rows: list[int], records: list[dict[str, str | None]], malformed: dict[int, str]
) -> Piece:
    import pyarrow as pa

    columns = {name: pa.array([record.get(name) for record in records], pa.string()) for name in pattern.groupindex}
    return Piece(pa.array(rows, pa.int64()), columns, malformed)
