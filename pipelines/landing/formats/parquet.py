"""Parquet: typed columns, given back as the text of their values; nested ones as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pipelines.landing.formats.base import Piece
from pipelines.landing.formats.opening import refuse_repeated, wrong_format

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.contracts.model import Contract
    from pipelines.landing.zone import Delivery, Landing

ROWS_PER_PIECE = 20_000


def read(
    landing: Landing, contract: Contract, delivery: Delivery, header: Callable[[list[str]], None]
) -> Iterator[Piece]:
    """The rows of a file; `header` is told its column names first.

    Raises:
        LandingError: if it is no Parquet file, or has two columns of one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with landing.open(delivery) as stream:
        if stream.read(4) != b"PAR1":
            raise wrong_format(delivery, contract, "no Parquet file, which begins with PAR1")
        stream.seek(0)
        file = pq.ParquetFile(stream)
        names = file.schema_arrow.names
        refuse_repeated(names, delivery)
        header(names)
        first = 1
        for batch in file.iter_batches(ROWS_PER_PIECE, use_threads=False):
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
