"""CSV and its relatives: a header line, then values between delimiters, quoted where they need to be."""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.landing.delivery import Delivery
from pipelines.landing.formats.base import BLOCK_BYTES, DeliveredFile, Piece, malformed_lines, shown, whole_rows
from pipelines.landing.formats.csv_records import Records
from pipelines.landing.formats.opening import refuse_repeated, text_stream

if TYPE_CHECKING:
    import pyarrow as pa

NAMES_EVERY_COLUMN = True
_DELIMITERS = ",;\t|"
#: Up to this size, text without quotes, carriage returns and blank lines is cut here: Arrow's reader takes longer.
_SMALL_BYTES = 4096
_NOT_PLAIN = re.compile(rb'["\r]|\A\n|\n\n')
#: Characters of column names that an error shows.
_SHOWN_CHARACTERS = 200


def read(file: DeliveredFile) -> Iterator[Piece]:
    """The rows, every value as the text that arrived; the header is row 1.

    Raises:
        LandingError: if the file has no line that can be its header.
        OverlongRecord: if a row needs too much memory.
    """
    import numpy as np
    import pyarrow as pa

    with text_stream(file) as stream:
        records = Records(stream, file.contract.delimiter)
        names = _header(records, file.contract, file.delivery)
        file.header(names)
        first = 2
        for block in records.blocks():
            columns, ragged = parsed(block.data, names, file.contract.delimiter)
            count = len(columns[names[0]]) + len(ragged)
            places = np.arange(count) if block.numbers is None else np.array(block.numbers, np.int64)
            places += first
            fits = np.ones(count, bool)
            fits[ragged] = False
            rows = places[fits]
            values, malformed = whole_rows(columns)
            texts = [_shown(text) for text in records.texts(block.data)] if ragged or malformed else []
            positions = np.flatnonzero(fits)
            yield Piece(pa.array(rows), values, {position: texts[positions[position]] for position in malformed})
            lines = {places[n]: texts[n] for n in ragged}
            lines |= {first + number: _shown(line) for number, line in block.malformed.items()}
            if lines:
                yield malformed_lines(sorted(lines), [lines[place] for place in sorted(lines)])
            first += count + len(block.malformed)


def _shown(line: bytes) -> str:
    """A malformed line as text."""
    return shown(line).replace("\0", "\\x00")


def parsed(data: bytes, names: Sequence[str], delimiter: str) -> tuple[dict[str, pa.Array], list[int]]:
    """The values of records in bytes, and the positions of the records that have another number of fields."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    ragged: list[int] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        ragged.append(row.number - 1)
        return "skip"

    if not data:
        return {name: pa.array([], pa.binary()) for name in names}, ragged
    if len(data) <= _SMALL_BYTES and not _NOT_PLAIN.search(data):
        records = [line.split(delimiter.encode()) for line in data.removesuffix(b"\n").split(b"\n")]
        ragged += [number for number, values in enumerate(records) if len(values) != len(names)]
        whole = [values for values in records if len(values) == len(names)]
        return {name: pa.array([v[place] for v in whole], pa.binary()) for place, name in enumerate(names)}, ragged
    if not _is_utf8(data):  # Arrow gives `skip` each line as text, and fails if it is none
        columns, ragged = parsed(data.decode("latin-1").encode(), names, delimiter)
        in_bytes = {name: [value.decode().encode("latin-1") for value in columns[name].to_pylist()] for name in names}
        return {name: pa.array(values, pa.binary()) for name, values in in_bytes.items()}, ragged
    kept = data if not data.startswith(BOM_UTF8) else BOM_UTF8 + data  # Arrow takes one away, which here is a value's
    table = arrow_csv.read_csv(
        pa.BufferReader(kept),
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(kept) + 1, column_names=names),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
    )
    return {name: values.combine_chunks() for name, values in zip(names, table.columns, strict=True)}, ragged


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _header(records: Records, contract: Contract, delivery: Delivery) -> list[str]:
    """The names in the first line that is not blank."""
    try:
        head = records.first()
    except ValueError as error:
        raise _no_header(delivery, contract, f"a first line that is no header: {error}") from None
    if head is None:
        raise _no_header(delivery, contract, "an empty file, or nothing but blank lines")
    return header_names(head, contract, delivery)


def header_names(head: bytes, contract: Contract, delivery: Delivery) -> list[str]:
    """The names of the columns in the line that is a file's header.

    Raises:
        LandingError: if it cannot be the header of a file of this contract.
    """
    line = io.StringIO(head.decode("utf-8", "surrogateescape"), newline="")
    csv.field_size_limit(BLOCK_BYTES)
    names = next(csv.reader(line, delimiter=contract.delimiter))
    if any("\udc80" <= character <= "\udcff" for name in names for character in name):
        raise _no_header(delivery, contract, f"a header that is not UTF-8: {[_shown_name(name) for name in names]}")
    refuse_repeated(names, delivery)
    if not {column.name for column in contract.columns} & set(names):
        others = [d for d in _DELIMITERS if len(names) == 1 and d in names[0]]
        hint = f"; it may be delimited by {others[0]!r}" if others else ""
        seen = ", ".join(names)[:_SHOWN_CHARACTERS]
        raise _no_header(delivery, contract, f"a header without one column of the contract: {seen}{hint}")
    return names


def _shown_name(name: str) -> str:
    """A name that was decoded with surrogate escapes as text that can be printed."""
    return shown(name.encode("utf-8", "surrogateescape"))


def _no_header(delivery: Delivery, contract: Contract, observed: str) -> LandingError:
    known = ", ".join(column.name for column in contract.columns)[:_SHOWN_CHARACTERS]
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=observed,
        expected=f"a header with columns of {contract.path.name} ({known}), delimited by {contract.delimiter!r}",
        next_step="move the file out of landing and ask for it again, or correct delimiter or encoding in the contract",
        code="no_header",
    )
