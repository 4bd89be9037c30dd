"""JSON lines: one object per line; numbers keep the text that arrived."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipelines.landing.formats.base import BLOCK_BYTES, DeliveredFile, Piece, shown
from pipelines.landing.formats.opening import lines, text_stream

#: A line may leave out a column that has no value.
NAMES_EVERY_COLUMN = False
LINES_PER_PIECE = 20_000


def read(file: DeliveredFile) -> Iterator[Piece]:
    """The objects of a file; blank lines are skipped.

    A line is malformed if it is not a JSON object, or holds a NUL or half a character. `file.header` is called with
    each name that the contract does not know, when it is first seen.
    """
    known = {column.name for column in file.contract.columns}
    rows: list[int] = []
    records: list[dict[str, Any]] = []
    malformed: dict[int, str] = {}
    size = 0
    with text_stream(file) as stream:
        for number, line in lines(stream):
            if not line.strip():
                continue
            record = _record(line)
            if record is None:
                malformed[len(rows)] = shown(line)
            elif not record.keys() <= known:
                new = [name for name in record if name not in known]
                known.update(new)
                file.header(new)
            rows.append(number)
            records.append(record or {})
            size += len(line)
            if len(rows) == LINES_PER_PIECE or size > BLOCK_BYTES:
                yield _piece(rows, records, malformed)
                rows, records, malformed, size = [], [], {}, 0
    if rows:
        yield _piece(rows, records, malformed)


def _piece(rows: list[int], records: list[dict[str, Any]], malformed: dict[int, str]) -> Piece:
    import pyarrow as pa

    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: pa.array([_text(record.get(name)) for record in records], pa.string()) for name in names}
    return Piece(pa.array(rows, pa.int64()), columns, malformed)


def _record(line: bytes) -> dict[str, Any] | None:
    """A JSON object whose numbers stay the text that arrived; None for anything that is not an object of texts."""
    try:
        record = json.loads(line.decode(), parse_float=str, parse_int=str, parse_constant=str)
        if b"\\u" in line:
            text = json.dumps(record, ensure_ascii=False)
            text.encode()  # half a character, as in "\ud800", raises
            if "\\u0000" in text:
                return None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
