"""JSON lines: one object per line; numbers, lists and objects in it keep the text that arrived."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pipelines.landing.formats.base import BLOCK_BYTES, DeliveredFile, Piece, shown
from pipelines.landing.formats.opening import lines, text_stream

#: A line may leave out a column that has no value.
NAMES_EVERY_COLUMN = False
LINES_PER_PIECE = 20_000


def read(file: DeliveredFile) -> Iterator[Piece]:
    """The objects of a file; blank lines are skipped.

    A line is malformed if it is not a JSON object as RFC 8259 says (`NaN` is no number there), has a name twice in one
    object, or holds a NUL or half a character. `file.header` is called with each name that the contract does not know,
    when it is first seen.
    """
    known = {column.name for column in file.contract.columns}
    rows: list[int] = []
    records: list[dict[str, str | None]] = []
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


def _piece(rows: list[int], records: list[dict[str, str | None]], malformed: dict[int, str]) -> Piece:
    import pyarrow as pa

    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: pa.array([record.get(name) for record in records], pa.string()) for name in names}
    return Piece(pa.array(rows, pa.int64()), columns, malformed)


def _record(line: bytes) -> dict[str, str | None] | None:
    """The texts of a JSON object's values; None for anything that is not an object of texts."""
    try:
        text = line.decode()
        record = _DECODER.decode(text)
        if b"\\u" in line:
            characters = json.dumps(record, ensure_ascii=False)
            characters.encode()  # half a character, as in "\ud800", raises
            if _NUL.search(characters):
                return None
        if not isinstance(record, dict):
            return None
        if any(isinstance(value, dict | list) for value in record.values()):
            record |= _nested(text)
    except (ValueError, RecursionError):
        return None
    return {name: _CONSTANTS[value] if isinstance(value, bool) else value for name, value in record.items()}


def _nested(text: str) -> dict[str, str]:
    """The values of a JSON object that are lists or objects, as they are written."""
    written, position = {}, _after_space(text, text.index("{") + 1)
    while text[position] != "}":
        name, position = _DECODER.raw_decode(text, position)
        start = _after_space(text, text.index(":", position) + 1)
        value, end = _DECODER.raw_decode(text, start)
        if isinstance(value, dict | list):
            written[name] = text[start:end]
        position = _after_space(text, end)
        if text[position] == ",":
            position = _after_space(text, position + 1)
    return written


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("an object has a name twice")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


#: NUL as JSON writes it; behind an even number of backslashes, `u0000` is text.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SPACE = re.compile(r"[ \t\r\n]*")
_CONSTANTS = {True: "true", False: "false"}
#: Numbers keep their text; a name twice in one object, NaN and the infinities raise ValueError.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_refuse_constant, object_pairs_hook=_object)
