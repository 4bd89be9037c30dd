"""CSV and its relatives: a header line, then values between delimiters, quoted where they need to be."""

from __future__ import annotations

import csv
import io
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.landing.delivery import Delivery
from pipelines.landing.formats.base import BLOCK_BYTES, DeliveredFile, Piece, malformed_lines, shown
from pipelines.landing.formats.opening import refuse_repeated, text_stream

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

NAMES_EVERY_COLUMN = True
_DELIMITERS = ",;\t|"
#: Characters of column names that an error shows.
_SHOWN_CHARACTERS = 200


def read(file: DeliveredFile) -> Iterator[Piece]:
    """The rows, every value as the text that arrived; the header is row 1.

    Raises:
        LandingError: if the file has no line that can be its header.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with text_stream(file) as stream:
        names, has_rows = _header(stream, file.contract, file.delivery)
    file.header(names)
    if not has_rows:
        return
    skipped: list[int] = []
    texts: dict[int, str] = {}

    def skip(row: arrow_csv.InvalidRow) -> str:
        insort(skipped, row.number)
        texts[row.number] = row.text
        return "skip"

    with text_stream(file) as stream:
        reader = arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(
                delimiter=file.contract.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            # As bytes: a value that is not UTF-8 makes one row malformed, instead of ending the file.
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
        )
        first = 2
        for batch in reader:
            rows, first = _places(first, batch.num_rows, skipped)
            yield _piece(rows, batch)
            for number in [number for number in texts if number < first]:
                yield malformed_lines([number], [texts.pop(number)])
    if texts:
        yield malformed_lines(list(texts), list(texts.values()))


def _header(stream: Any, contract: Contract, delivery: Delivery) -> tuple[list[str], bool]:
    """The names in the first line that is not blank, and whether another line that is not blank follows."""
    head = stream.read(BLOCK_BYTES)
    lines = io.StringIO(head.decode("utf-8-sig", "surrogateescape"), newline="")
    try:
        names = next(filter(None, csv.reader(lines, delimiter=contract.delimiter)), [])
    except csv.Error as error:
        raise _no_header(delivery, contract, f"a first line that is no header: {error}") from None
    if not names:
        raise _no_header(delivery, contract, "nothing but blank lines" if head else "an empty file")
    if len(head) == BLOCK_BYTES and lines.tell() >= len(lines.getvalue()):
        raise _no_header(delivery, contract, f"a first line of more than {BLOCK_BYTES} bytes")
    if any("\udc80" <= character <= "\udcff" for name in names for character in name):
        raise _no_header(delivery, contract, f"a header that is not UTF-8: {[_shown_name(name) for name in names]}")
    refuse_repeated(names, delivery)
    if not {column.name for column in contract.columns} & set(names):
        others = [d for d in _DELIMITERS if len(names) == 1 and d in names[0]]
        hint = f"; it may be delimited by {others[0]!r}" if others else ""
        seen = ", ".join(names)[:_SHOWN_CHARACTERS]
        raise _no_header(delivery, contract, f"a header without one column of the contract: {seen}{hint}")
    return names, len(head) == BLOCK_BYTES or any(line.strip("\r\n") for line in lines)


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


def _places(first: int, count: int, skipped: list[int]) -> tuple[pa.Array, int]:
    """The places of the next `count` rows from `first` on, without those in `skipped`, and the place after them."""
    import numpy as np
    import pyarrow as pa

    end = first + count
    begin = bisect_left(skipped, first)
    while (inside := bisect_right(skipped, end - 1) - begin) > end - first - count:
        end = first + count + inside
    places = np.arange(first, end)
    skipped_inside = skipped[begin : bisect_right(skipped, end - 1)]
    return pa.array(np.setdiff1d(places, skipped_inside) if skipped_inside else places, pa.int64()), end


def _piece(rows: pa.Array, batch: pa.RecordBatch) -> Piece:
    """The values as text; a row with a value that is not UTF-8 or holds a NUL is malformed."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them

    columns, malformed = {}, set()
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        try:
            text = values.cast(pa.string())
        except pa.ArrowInvalid:
            decoded = [_decoded(value) for value in values.to_pylist()]
            malformed |= {position for position, (_, is_utf8) in enumerate(decoded) if not is_utf8}
            text = pa.array([value for value, _ in decoded], pa.string())
        has_nul = pc.match_substring(text, "\0")
        if pc.any(has_nul).as_py():
            malformed |= {position for position, nul in enumerate(has_nul.to_pylist()) if nul}
        columns[name] = text
    if not malformed:
        return Piece(rows, columns)
    texts = {
        position: ",".join(str(column[position].as_py()).replace("\0", "\\x00") for column in columns.values())
        for position in malformed
    }
    is_row = pa.array([position not in malformed for position in range(len(rows))])
    return Piece(rows, {name: pc.if_else(is_row, text, None) for name, text in columns.items()}, texts)


def _decoded(value: bytes) -> tuple[str, bool]:
    """A value as text, and whether it is UTF-8; other bytes become escapes."""
    try:
        return value.decode(), True
    except UnicodeDecodeError:
        return shown(value), False
