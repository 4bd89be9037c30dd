"""Parquet: typed columns, read as the text of their values; nested values as JSON, bytes as base64."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.landing.formats.arrow_text import beyond_calendar, texts, with_nanoseconds
from pipelines.landing.formats.base import DeliveredFile, Piece, shown, whole_rows
from pipelines.landing.formats.opening import refuse_repeated, wrong_format

if TYPE_CHECKING:
    import pyarrow as pa

NAMES_EVERY_COLUMN = True
ROWS_PER_PIECE = 20_000
_MAGIC = b"PAR1"


def read(file: DeliveredFile) -> Iterator[Piece]:
    """The rows of a file. A row is malformed if a value in it has no text: a date beyond the calendar, a NUL.

    Raises:
        LandingError: if it is not a Parquet file, or has two columns of one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.landing.open(file.delivery) as stream, file.landing.open(file.delivery) as again:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise wrong_format(file.delivery, file.contract, "no Parquet file, which begins with PAR1")
        stream.seek(0)
        # Nanoseconds, Arrow's default for INT96, reach only from 1677 to 2262.
        parquet = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")
        names = parquet.schema_arrow.names
        refuse_repeated(names, file.delivery)
        file.header(names)
        columns = [parquet.schema.column(n) for n in range(len(parquet.schema))]
        int96 = [column.path for column in columns if column.physical_type == "INT96" and column.path in names]
        nanos = pq.ParquetFile(again).iter_batches(ROWS_PER_PIECE, columns=int96, use_threads=False) if int96 else None
        first = 1
        for batch in parquet.iter_batches(ROWS_PER_PIECE, use_threads=False):
            rows = pa.array(range(first, first + batch.num_rows), pa.int64())
            columns = {name: texts(batch.column(n)) for n, name in enumerate(names)}
            for name, wrapped in zip(int96, next(nanos).columns if nanos else (), strict=True):
                columns[name] = with_nanoseconds(batch.column(name), wrapped)
            yield _piece(rows, columns, batch)
            first += batch.num_rows


def _piece(rows: pa.Array, columns: dict[str, pa.Array], batch: pa.RecordBatch) -> Piece:
    """The rows of a batch; those with a value that has no text are malformed, and kept as JSON."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them

    values, malformed = whole_rows(columns)
    malformed = malformed.union(*(beyond_calendar(batch.schema.field(name).type, columns[name]) for name in columns))
    if not malformed:
        return Piece(rows, values)
    kept = {n: {name: _shown(text[n].cast(pa.binary()).as_py()) for name, text in columns.items()} for n in malformed}
    is_whole = pa.array([n not in malformed for n in range(len(rows))])
    values = {name: pc.if_else(is_whole, text, None) for name, text in values.items()}
    return Piece(rows, values, {n: json.dumps(row, ensure_ascii=False) for n, row in kept.items()})


def _shown(value: bytes | None) -> str | None:
    return None if value is None else shown(value)
