"""CSV and its relatives: a header line, then values between delimiters, quoted where they need to be."""

from __future__ import annotations

import csv
import io
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pipelines.errors import LandingError
from pipelines.landing.formats.base import BLOCK_BYTES, Piece, broken_lines, shown
from pipelines.landing.formats.opening import refuse_repeated

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    from pipelines.contracts.model import Contract
    from pipelines.landing.zone import Delivery

_DELIMITERS = ",;\t|"


def read(
    open_stream: Callable[[], Any], contract: Contract, delivery: Delivery, header: Callable[[list[str]], None]
) -> Iterator[Piece]:
    """The rows, every value as the text that arrived; the header is row 1.

    Args:
        open_stream: Opens the text, in UTF-8.
        contract: Names the delimiter and the columns.
        delivery: The file, for errors.
        header: Is told the names in the file before any row is read; it may refuse them.

    Raises:
        LandingError: if the file has no header that can be one.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with open_stream() as stream:
        names, has_rows = _header(stream, contract, delivery)
    header(names)
    if not has_rows:
        return
    skipped: list[int] = []
    texts: dict[int, str] = {}

    def keep(row: arrow_csv.InvalidRow) -> str:
        insort(skipped, row.number)
        texts[row.number] = row.text
        return "skip"

    with open_stream() as stream:
        reader = arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(
                delimiter=contract.delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            # As bytes: one value that is no UTF-8 is one malformed row, not the end of the file.
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
        )
        first = 2
        for part in reader:
            rows, first = _places(first, part.num_rows, skipped)
            yield _text(rows, part)
            for number in [number for number in texts if number < first]:
                yield broken_lines([number], [texts.pop(number)])
    if texts:
        yield broken_lines(list(texts), list(texts.values()))


def _header(stream: Any, contract: Contract, delivery: Delivery) -> tuple[list[str], bool]:
    """The names in the first line that is not blank, and whether another follows."""
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
        raise _no_header(delivery, contract, f"a header that is no UTF-8: {[shown_name(name) for name in names]}")
    refuse_repeated(names, delivery)
    if not {column.name for column in contract.columns} & set(names):
        others = [d for d in _DELIMITERS if len(names) == 1 and d in names[0]]
        hint = f"; it may be delimited by {others[0]!r}" if others else ""
        seen = ", ".join(names)
        raise _no_header(delivery, contract, f"a header without one column of the contract: {seen[:200]}{hint}")
    return names, len(head) == BLOCK_BYTES or any(line.strip("\r\n") for line in lines)


def shown_name(name: str) -> str:
    """A name of any bytes as text."""
    return shown(name.encode("utf-8", "surrogateescape"))


def _no_header(delivery: Delivery, contract: Contract, observed: str) -> LandingError:
    known = ", ".join(column.name for column in contract.columns)
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=observed,
        expected=f"a header with columns of {contract.path.name} ({known[:200]}), delimited by {contract.delimiter!r}",
        next_step="move the file out of landing and ask for it again, or correct delimiter or encoding in the contract",
        code="no_header",
    )


def _places(first: int, count: int, skipped: list[int]) -> tuple[pa.Array, int]:
    """The places of the next `count` good rows from `first` on, and the place after them."""
    import numpy as np
    import pyarrow as pa

    end = first + count
    begin = bisect_left(skipped, first)
    while (inside := bisect_right(skipped, end - 1) - begin) > end - first - count:
        end = first + count + inside
    places = np.arange(first, end)
    bad = skipped[begin : bisect_right(skipped, end - 1)]
    return pa.array(np.setdiff1d(places, bad) if bad else places, pa.int64()), end


def _text(rows: pa.Array, part: pa.RecordBatch) -> Piece:
    """The values as text; a row with a value that is no text becomes malformed, whole."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # its functions are made when it is imported

    columns, bad = {}, set()
    for name, values in zip(part.schema.names, part.columns, strict=True):
        try:
            text = values.cast(pa.string())
        except pa.ArrowInvalid:
            found = [_decoded(value) for value in values.to_pylist()]
            bad |= {position for position, (_, whole) in enumerate(found) if not whole}
            text = pa.array([value for value, _ in found], pa.string())
        if nul := pc.any(pc.match_substring(text, "\0")).as_py():
            bad |= {
                position for position, held in enumerate(pc.match_substring(text, "\0").to_pylist()) if nul and held
            }
        columns[name] = text
    if not bad:
        return Piece(rows, columns)
    texts = {p: ",".join(str(column[p].as_py()).replace("\0", "\\x00") for column in columns.values()) for p in bad}
    good = pa.array([position not in bad for position in range(len(rows))])
    return Piece(rows, {name: pc.if_else(good, text, None) for name, text in columns.items()}, texts)


def _decoded(value: bytes) -> tuple[str, bool]:
    try:
        return value.decode(), True
    except UnicodeDecodeError:
        return value.decode("utf-8", "backslashreplace"), False
