"""Logs: one record a line, its columns the named groups of the contract's line pattern."""

from __future__ import annotations

import re
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
    """The lines of a log; one that the pattern does not match, whole, is malformed. Blank lines are none."""
    pattern = re.compile(contract.line_pattern or "")
    header(list(pattern.groupindex))
    rows: list[int] = []
    found: list[dict[str, str | None]] = []
    malformed: dict[int, str] = {}
    size = 0
    with open_stream() as stream:
        for number, line in lines(stream):
            if not line.strip():
                continue
            text = shown(line)
            match = pattern.fullmatch(text) if "\0" not in text else None
            if match is None:
                malformed[len(rows)] = text
            rows.append(number)
            found.append(match.groupdict() if match else {})
            size += len(line)
            if len(rows) == LINES_PER_PIECE or size > BLOCK_BYTES:
                yield _piece(pattern, rows, found, malformed)
                rows, found, malformed, size = [], [], {}, 0
    if rows:
        yield _piece(pattern, rows, found, malformed)


def _piece(
    pattern: re.Pattern[str], rows: list[int], found: list[dict[str, str | None]], malformed: dict[int, str]
) -> Piece:
    import pyarrow as pa

    columns = {name: pa.array([groups.get(name) for groups in found], pa.string()) for name in pattern.groupindex}
    return Piece(pa.array(rows, pa.int64()), columns, malformed)
