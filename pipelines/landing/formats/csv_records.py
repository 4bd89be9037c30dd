"""Cuts CSV text into records: where each one ends, and which lines belong to none.

A field that begins with a quote ends at the next quote that is not doubled, and only a delimiter, a line end or the end
of the file may follow; line ends within it are part of its value. Quotes elsewhere in a field are characters like
others. A line ends with LF, CR LF or CR. Where a quote is not closed, or text follows the closing quote, it cannot be
told where the record ends: each line from its begin to the line of the fault is a malformed row of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipelines.landing.formats.base import BLOCK_BYTES

_QUOTE, _LF, _CR = b'"\n\r'


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records of a file, in bounded memory; blank lines are none.

    Attributes:
        data: The text of the records, with the line ends between them.
        numbers: Their numbers among the records and malformed lines of the block, from 0; None if it has no malformed
            line.
        malformed: The malformed lines by such a number, without their line ends.
    """

    data: bytes
    numbers: list[int] | None = None
    malformed: dict[int, bytes] = field(default_factory=dict)


class OverlongRecord(ValueError):
    """A record of more than BLOCK_BYTES."""

    def __init__(self) -> None:
        super().__init__(f"a row of more than {BLOCK_BYTES} bytes: it has no line end, or a quote that is not closed")


class Records:
    """The records of one stream of CSV text in UTF-8, behind a byte order mark if it has one.

    Raises:
        ValueError: if the delimiter is not one ASCII character.
    """

    def __init__(self, stream: Any, delimiter: str) -> None:
        self._stream = stream
        self._delimiter = delimiter.encode()
        if len(self._delimiter) != 1:
            raise ValueError(f"the delimiter {delimiter!r} is not one ASCII character")
        between = re.escape(self._delimiter)
        quoted = rb'"[^"]*+(?:""[^"]*+)*+"'
        one = rb"(?:%s(?=%s|[\r\n]|\Z)|(?!\")[^%s\r\n]*+)" % (quoted, between, between)
        self._record = re.compile(rb"%s(?:%s%s)*+(?:\r\n?|\n|\Z)" % (one, between, one))
        self._fields = re.compile(rb"(?:%s%s)*+" % (one, between))
        self._quoted = re.compile(quoted)
        self._rest = b""
        self._ended = False
        self._read()
        self._rest = self._rest.removeprefix(b"\xef\xbb\xbf")

    def first(self) -> bytes | None:
        """The first record, which `blocks` does not yield again; None if there are only blank lines.

        Raises:
            OverlongRecord: if it needs too much memory.
            ValueError: if it is malformed.
        """
        while True:
            start = len(self._rest) - len(self._rest.lstrip(b"\r\n"))
            match = self._record.match(self._rest, start)
            if self._ended or (match and match[0].endswith((b"\n", b"\r"))):
                break
            if len(self._rest) - start > BLOCK_BYTES:
                raise OverlongRecord
            self._read()
        if match is None:
            raise ValueError("a quote that is not closed, or text behind the quote that closes a name")
        self._rest = self._rest[match.end() :]
        return match[0].rstrip(b"\r\n") or None

    def blocks(self) -> Iterator[Block]:
        """The records behind the first.

        Raises:
            OverlongRecord: if one needs too much memory.
        """
        while True:
            end = self._regular_end()
            block, end = self._scanned() if end is None else (Block(self._rest[:end]), end)
            self._rest = self._rest[end:]
            if block.data or block.malformed:
                yield block
            if self._ended and not self._rest:
                return
            if len(self._rest) > BLOCK_BYTES:
                raise OverlongRecord
            self._read()

    def texts(self, data: bytes) -> list[bytes]:
        """The records of a block's data one by one, without their line ends."""
        if _QUOTE not in data:
            return [line for line in data.splitlines() if line]
        records, start = [], 0
        while start < len(data) and (match := self._record.match(data, start)):
            records.append(match[0].rstrip(b"\r\n"))
            start = match.end()
        return [record for record in records if record]

    def _read(self) -> None:
        read = self._stream.read(BLOCK_BYTES)
        self._ended = not read
        self._rest += read

    def _regular_end(self) -> int | None:
        """Where the last whole record ends, if every quote opens or closes a field or is doubled within one; else None.

        In such a text a line end is that of a record where the number of quotes before it is even.
        """
        import numpy as np

        text = self._rest
        if _QUOTE not in text:
            return len(text) if self._ended else max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        codes = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(codes == _QUOTE)
        around = np.array([self._delimiter[0], _LF, _CR, _QUOTE], np.uint8)
        opening, closing = quotes[0::2], quotes[1::2]
        opening = opening[opening > 0]  # a text begins with a record
        closing = closing[closing < len(text) - 1]  # what follows the last byte is not known yet
        regular = np.isin(codes[opening - 1], around).all() and np.isin(codes[closing + 1], around).all()
        if not regular or (self._ended and len(quotes) % 2):
            return None
        if self._ended:
            return len(text)
        ends = np.flatnonzero((codes == _LF) | (codes == _CR))
        outside = ends[np.searchsorted(quotes, ends) % 2 == 0]
        return int(outside[-1]) + 1 if len(outside) else 0

    def _scanned(self) -> tuple[Block, int]:
        """The whole records of an irregular text, found one by one, and where the rest begins."""
        text, start, number = self._rest, 0, 0
        parts: list[bytes] = []
        numbers: list[int] = []
        malformed: dict[int, bytes] = {}
        while start < len(text):
            match = self._record.match(text, start)
            end = match.end() if match else self._fault_end(start)
            is_whole = end is not None and (self._ended or text[end - 1] in (_LF, _CR))
            if end is None or not is_whole:
                break
            if match is None:
                lines = [line for line in text[start:end].splitlines() if line]
                malformed |= dict(enumerate(lines, number))
                number += len(lines)
            elif match[0].rstrip(b"\r\n"):
                parts.append(match[0])
                numbers.append(number)
                number += 1
            start = end
        return Block(b"".join(parts), numbers, malformed), start

    def _fault_end(self, start: int) -> int | None:
        """Where the line ends in which it shows that the record from `start` is malformed; None if that is not read."""
        fields = self._fields.match(self._rest, start)
        quoted = self._quoted.match(self._rest, fields.end() if fields else start)
        if quoted is None or quoted.end() == len(self._rest):
            return len(self._rest) if self._ended else None
        line_end = re.compile(rb"\r\n?|\n|\Z").search(self._rest, quoted.end())
        return line_end.end() if line_end else None
