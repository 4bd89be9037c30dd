"""Small CSV files, whose rows are made together: opening one by itself costs as much as thousands of rows.

A file is read here if nothing about it is unusual: UTF-8 without a byte order mark, a header that the contract allows,
the header's number of fields in each line, quotes only around whole fields without line ends, the number of rows that
its manifest says. Every other file, and so every error, is left to `reading`.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.landing.delivery import Delivery
from pipelines.landing.formats.base import BLOCK_BYTES, Piece, whole_rows
from pipelines.landing.formats.csv import header_names, parsed
from pipelines.landing.formats.opening import other_kind
from pipelines.landing.zone import Landing

#: The largest file that is read here.
SMALL_BYTES = 8 << 10


class SmallFile(NamedTuple):
    """A file that was read: the names of its columns, its rows as the lines below its header, and their number."""

    delivery: Delivery
    names: tuple[str, ...]
    body: bytes
    rows: int


class SmallFiles:
    """Reads the small files of one contract.

    Args:
        landing: Where they are.
        contract: The contract of the bronze table.
        contents: The bytes of files that were read before, by uri.
        header: Called with the names in a header and the first file that has it. If it raises LandingError, all files
            with this header are left to `reading`.
    """

    def __init__(
        self,
        landing: Landing,
        contract: Contract,
        contents: Mapping[str, bytes],
        header: Callable[[Delivery, Sequence[str]], None],
    ) -> None:
        self._landing = landing
        self._contract = contract
        self._contents = contents
        self._header = header
        #: For each header: the names, and the pattern of what may stand below; None if its files are left to `reading`.
        self._headers: dict[bytes, tuple[tuple[str, ...], re.Pattern[bytes]] | None] = {}
        between = re.escape(contract.delimiter.encode())
        field = rb'(?:"[^"\r\n\0]*+(?:""[^"\r\n\0]*+)*+"|[^"%s\r\n\0]*+)' % between
        self._fields = rb"(?!\r?(?:\n|\Z))%s(?:%s%s)" % (field, between, field)

    def groups(self, deliveries: Iterable[Delivery]) -> Iterator[list[SmallFile] | Delivery]:
        """The deliveries in their order: files that share interval and columns together, as far as memory allows, and
        each file that is left to `reading` by itself.
        """
        held: list[SmallFile] = []
        size = 0
        for delivery in deliveries:
            file = self._read(delivery)
            is_next = file and held and (file.names, delivery.interval) == (held[0].names, held[0].delivery.interval)
            if held and not (is_next and size + delivery.bytes <= BLOCK_BYTES):
                yield held
                held, size = [], 0
            if file is None:
                yield delivery
            else:
                held.append(file)
                size += delivery.bytes
        if held:
            yield held

    def pieces(self, files: Sequence[SmallFile]) -> Iterator[Piece]:
        """The rows of files that share their columns, as one piece if there are any."""
        import pyarrow as pa

        if rows := [place for file in files for place in range(2, file.rows + 2)]:
            columns, _ = parsed(b"".join(file.body for file in files), files[0].names, self._contract.delimiter)
            yield Piece(pa.array(rows, pa.int64()), whole_rows(columns)[0])

    def _read(self, delivery: Delivery) -> SmallFile | None:
        """The file; None if something about it is unusual."""
        if self._contract.format != "csv" or self._contract.encoding != "utf-8" or delivery.bytes > SMALL_BYTES:
            return None
        try:
            content = self._contents.get(delivery.uri)
            if content is None:
                with self._landing.open(delivery) as stream:
                    content = stream.read(SMALL_BYTES)
            content.decode()
            manifest = self._landing.manifest(delivery)
            if self._landing.now(delivery) != delivery:
                return None
        except (OSError, ValueError, LandingError):
            return None
        head, _, body = content.partition(b"\n")
        if head not in self._headers:
            self._headers[head] = self._checked(head, delivery)
        names, pattern = self._headers[head] or ((), None)
        body += b"" if body.endswith(b"\n") or not body else b"\n"
        file = SmallFile(delivery, names, body, body.count(b"\n"))
        is_usual = pattern and pattern.fullmatch(body) and (not manifest or manifest.rows in (None, file.rows))
        return file if is_usual else None

    def _checked(self, head: bytes, delivery: Delivery) -> tuple[tuple[str, ...], re.Pattern[bytes]] | None:
        """The names in a header, and the pattern of the lines that fit it; None if its files are left to `reading`."""
        if other_kind(head) or head.startswith(BOM_UTF8) or not re.fullmatch(rb"%s*+\r?" % self._fields, head):
            return None
        try:
            names = tuple(header_names(head.removesuffix(b"\r"), self._contract.delivered, delivery))
            self._header(delivery, names)
        except LandingError:
            return None
        return names, re.compile(rb"(?:%s{%d}\r?\n)*+" % (self._fields, len(names) - 1))
