"""A digest of a table's content: equal for the same rows in any order, different if one bit of a value differs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa


def content_digest(rows: pa.Table, *, order: Literal["any", "as stored"] = "any") -> str:
    """The SHA-256 over the column names, and the validity and bits of every value, in hexadecimal.

    Floats are compared by their bits: -0.0 differs from 0.0, and a NaN equals itself. A null differs from an empty
    text. The order of the columns does not count, nor how the rows are divided into chunks.

    Args:
        rows: The table's rows.
        order: `any`: rows are sorted by all their columns first; `as stored`: the order of the rows counts.
    """
    import pyarrow as pa

    names = sorted(rows.column_names)
    bits = pa.table({name: _bits(rows.column(name)) for name in names})
    if order == "any" and names:
        bits = bits.sort_by([(name, "ascending") for name in names])
    digest = hashlib.sha256(str(rows.num_rows).encode())
    for name in names:
        column = bits.column(name)
        digest.update(name.encode())
        digest.update(column.is_valid().to_numpy().tobytes())
        if pa.types.is_integer(column.type):
            digest.update(column.fill_null(0).to_numpy().tobytes())
        else:
            digest.update("".join(f"{len(text)}:{text}" for text in column.fill_null("").to_pylist()).encode())
    return digest.hexdigest()


def _bits(column: pa.ChunkedArray) -> Any:
    """The column as sortable integers or texts, of which two are equal exactly if the values' bits are."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_floating(kind):
        return column.combine_chunks().view({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width])
    if pa.types.is_integer(kind):
        return column
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8())
    if pa.types.is_temporal(kind):
        return column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.large_string())
    values = [
        None if value is None else json.dumps(value, sort_keys=True, default=repr) for value in column.to_pylist()
    ]
    return pa.array(values, pa.large_string())
