"""JSON lines: one object a line; numbers keep the text that arrived."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pipelines.landing.formats.base import BLOCK_BYTES, Piece, shown
from pipelines.landing.formats.opening import lines

if TYPE_CHECKING:
    from pipelines.contracts.model import Contract
    from pipelines.landing.zone import Delivery

LINES_PER_PIECE = 20_000


def read(
    open_stream: Callable[[], Any], contract: Contract, delivery: Delivery, header: Callable[[list[str]], None]
) -> Iterator[Piece]:
    """The objects of a file. A line that is no object, or that text cannot hold, is malformed; blank lines are none.

    `header` is told each name that the contract does not know when it is first seen.
    """
    known = {column.name for column in contract.columns}
    told: set[str] = set()
    rows: list[int] = []
    records: list[dict[str, Any]] = []
    malformed: dict[int, str] = {}
    size = 0
    with open_stream() as stream:
        for number, line in lines(stream):
            if not line.strip():
                continue
            record = _record(line)
            if record is None:
                malformed[len(rows)] = shown(line)
            elif not record.keys() <= known and (fresh := record.keys() - known - told):
                told |= fresh
                header([name for name in record if name in fresh])
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
    """A JSON object whose numbers stay the text that arrived; None for no object, half a character or a NUL."""
    try:
        record = json.loads(line.decode(), parse_float=str, parse_int=str, parse_constant=str)
        if b"\\u" in line:
            text = json.dumps(record, ensure_ascii=False)
            text.encode()
            if "\\u0000" in text:
                return None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
