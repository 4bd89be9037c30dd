"""Parquet: typed columns, read as the text of their values; nested values as JSON, bytes as base64."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.landing.formats.base import DeliveredFile, Piece
from pipelines.landing.formats.opening import refuse_repeated, wrong_format

if TYPE_CHECKING:
    import pyarrow as pa

NAMES_EVERY_COLUMN = True
ROWS_PER_PIECE = 20_000
_MAGIC = b"PAR1"


def read(file: DeliveredFile) -> Iterator[Piece]:
    """The rows of a file.

    Raises:
        LandingError: if it is not a Parquet file, or has two columns of one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.landing.open(file.delivery) as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise wrong_format(file.delivery, file.contract, "no Parquet file, which begins with PAR1")
        stream.seek(0)
        parquet = pq.ParquetFile(stream)
        names = parquet.schema_arrow.names
        refuse_repeated(names, file.delivery)
        file.header(names)
        first = 1
        for batch in parquet.iter_batches(ROWS_PER_PIECE, use_threads=False):
            rows = pa.array(range(first, first + batch.num_rows), pa.int64())
            yield Piece(rows, {name: _text(batch.column(n)) for n, name in enumerate(names)})
            first += batch.num_rows


def _text(values: pa.Array) -> pa.Array:
    import pyarrow as pa

    kind = values.type
    if pa.types.is_dictionary(kind):
        return _text(values.dictionary_decode())
    if pa.types.is_nested(kind):
        return pa.array([None if v is None else json.dumps(v, default=_plain) for v in values.to_pylist()], pa.string())
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    if any(is_kind(kind) for is_kind in binary):
        return pa.array([None if v is None else base64.b64encode(v).decode() for v in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
