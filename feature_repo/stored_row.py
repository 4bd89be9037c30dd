"""How an online store holds rows: one value for each entity and view, made and read by columns.

A row is a MessagePack array of the view's features, in the order in which Feast's registry names them: texts,
integers, floating-point numbers of their own width, booleans, and nil for a null and for NaN, which Feast calls a null.
Its key is Feast's own serialization of the entity, version 3, so that Feast's objects and ours name an entity alike.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, cast

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.features.declaration import EVENT_TIMESTAMP

#: The Arrow type of each type of feature.
ARROW = {
    "string": pa.string(), "int": pa.int32(), "bigint": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "boolean": pa.bool_(),
}  # fmt: skip
#: The bytes that are encoded at once, so that a table of wide rows takes no more memory than one of narrow ones.
AT_ONCE = 32 * 2**20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NIL, _FALSE, _TRUE, _TEXT = 0xC0, 0xC2, 0xC3, 0xDB
#: MessagePack's first byte of a number, its other bytes as NumPy names them, and all of them as `struct` does.
_NUMBERS = {
    "int": (0xD2, ">i4", ">Bi"), "bigint": (0xD3, ">i8", ">Bq"), "float": (0xCA, ">f4", ">Bf"),
    "double": (0xCB, ">f8", ">Bd"),
}  # fmt: skip
#: Feast's number of a key's type (`ValueType`), and how its bytes are read; a text has no fixed width.
_STRING = 2
_KEYS = {"int": (3, "<i"), "bigint": (4, "<q")}


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows of one view as a store holds them: the key, the instant in microseconds since 1970 (UTC), and the values."""

    keys: list[bytes]
    instants: list[int]
    values: list[bytes]


@dataclass(frozen=True)
class Layout:
    """How the rows of one view are laid out.

    Attributes:
        name: The name of the view in the store.
        keys: Join key to its type.
        fields: Feature to its type, in the order of a stored row.
    """

    name: str
    keys: Mapping[str, str]
    fields: Mapping[str, str]

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns from which rows are encoded: keys, features, `event_timestamp` in UTC."""
        columns = {**self.keys, **self.fields}
        instant = (EVENT_TIMESTAMP, pa.timestamp("us", "UTC"))
        return pa.schema([*((name, ARROW[kind]) for name, kind in columns.items()), instant])

    @cached_property
    def _key_names(self) -> bytes:
        names = [name.encode() for name in sorted(self.keys)]
        return struct.pack("<I", len(names)) + b"".join(struct.pack("<II", _STRING, len(n)) + n for n in names)

    def key(self, entity: Mapping[str, Any]) -> bytes | None:
        """The key of an entity; None if one of its key columns is null or beyond its type, since no row has it."""
        parts = [self._key_names]
        for name in sorted(self.keys):
            value = entity[name]
            if value is None:
                return None
            if self.keys[name] == "string":
                content = value.encode()
                parts += [struct.pack("<II", _STRING, len(content)), content]
                continue
            number, format_ = _KEYS[self.keys[name]]
            width = struct.calcsize(format_)
            if value.bit_length() >= 8 * width and value != -(1 << 8 * width - 1):
                return None
            parts.append(struct.pack("<II", number, width) + struct.pack(format_, value))
        return b"".join(parts)

    def values(self, row: Sequence[Any]) -> bytes:
        """One stored row of features in the order of `fields`: what `encode` makes of it.

        Raises:
            struct.error, OverflowError: for a value that its type does not hold.
        """
        parts = [struct.pack(">BI", 0xDD, len(self.fields))]
        for kind, value in zip(self.fields.values(), row, strict=True):
            if value is None or value != value:  # NaN alone differs from itself
                parts.append(bytes([_NIL]))
            elif kind == "string":
                content = value.encode()
                parts += [struct.pack(">BI", _TEXT, len(content)), content]
            elif kind == "boolean":
                parts.append(bytes([_TRUE if value else _FALSE]))
            else:
                code, _, format_ = _NUMBERS[kind]
                parts.append(struct.pack(format_, code, value))
        return b"".join(parts)

    def encode(self, rows: pa.RecordBatch) -> Iterator[EncodedRows]:
        """Rows with the columns of `schema` as a store holds them, some at a time, without those with a null key."""
        rows = pa.RecordBatch.from_arrays([rows.column(name) for name in self.schema.names], self.schema.names)
        for name in self.keys:
            if rows.column(name).null_count:
                rows = rows.filter(rows.column(name).is_valid())
        rows = rows.cast(self.schema)
        step = max(1, rows.num_rows * AT_ONCE // max(rows.nbytes, 1))
        for start in range(0, rows.num_rows, step):
            yield self._encoded(rows.slice(start, step))

    def _encoded(self, rows: pa.RecordBatch) -> EncodedRows:
        header = struct.pack(">BI", 0xDD, len(self.fields))
        keys = [part for name in sorted(self.keys) for part in _key(rows.column(name), self.keys[name])]
        values = [part for name, kind in self.fields.items() for part in _value(rows.column(name), kind)]
        return EncodedRows(
            _joined(self._key_names, keys),
            rows.column(EVENT_TIMESTAMP).cast(pa.int64()).to_pylist(),
            _joined(header, values),
        )

    def decode(self, values: bytes) -> list[Any]:
        """The features of a stored row, in the order of `fields`; raises ValueError for a row of another layout."""
        row = cast(list[Any], msgpack.unpackb(values))
        if len(row) != len(self.fields):
            raise ValueError(f"a row of {self.name} has {len(row)} values, its view {len(self.fields)} features")
        return row


def instant_of(stored: int) -> datetime:
    """The instant of a stored row, UTC."""
    return _EPOCH + timedelta(microseconds=stored)


def microseconds(instant: datetime) -> int:
    """An instant as a stored row has it."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _joined(first: bytes, parts: Sequence[pa.Array]) -> list[bytes]:
    joined: Any = pc.binary_join_element_wise(pa.scalar(first, pa.binary()), *parts, b"")  # ty: ignore[missing-attribute]
    return joined.to_pylist()


def _value(column: pa.Array, kind: str) -> list[pa.Array]:
    """The MessagePack of each value, in parts that follow each other."""
    if kind == "string":
        return _text(column)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    numbers = column.fill_null(False if kind == "boolean" else 0).to_numpy(zero_copy_only=False)
    if kind == "boolean":
        codes = np.where(valid, np.where(numbers, _TRUE, _FALSE), _NIL).astype(np.uint8)
        return [_binary(codes.reshape(-1, 1))]
    code, read_as, _ = _NUMBERS[kind]
    if kind in ("float", "double"):
        valid = valid & ~np.isnan(numbers)
    content = numbers.astype(read_as).view(np.uint8).reshape(len(numbers), -1)
    written = np.empty((len(numbers), 1 + content.shape[1]), np.uint8)
    written[:, 0], written[:, 1:] = np.where(valid, code, _NIL), content
    return [_binary(written, valid)]


def _text(column: pa.Array) -> list[pa.Array]:
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    content = column.cast(pa.binary()).fill_null(b"")
    written = np.empty((len(column), 5), np.uint8)
    written[:, 0], written[:, 1:] = np.where(valid, _TEXT, _NIL), _lengths(content, ">u4")
    return [_binary(written, valid), content]


def _key(column: pa.Array, kind: str) -> list[pa.Array]:
    """Feast's serialization of each value of a key column, in parts that follow each other."""
    number, format_ = (_STRING, "") if kind == "string" else _KEYS[kind]
    texts = [column.cast(pa.binary())] if kind == "string" else []
    content = np.empty((len(column), 0), np.uint8)
    if not texts:
        content = column.to_numpy().astype(f"<i{struct.calcsize(format_)}").view(np.uint8).reshape(len(column), -1)
    written = np.empty((len(column), 8 + content.shape[1]), np.uint8)
    written[:, :4] = np.frombuffer(struct.pack("<I", number), np.uint8)
    written[:, 4:8] = _lengths(texts[0], "<u4") if texts else np.frombuffer(struct.pack("<I", content.shape[1]), "u1")
    written[:, 8:] = content
    return [_binary(written), *texts]


def _lengths(texts: pa.Array, written_as: str) -> np.ndarray:
    """The number of bytes of each text, as four bytes."""
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)  # ty: ignore[missing-attribute]
    return lengths.astype(written_as).view(np.uint8).reshape(-1, 4)


def _binary(written: np.ndarray, whole: np.ndarray | None = None) -> pa.Array:
    """The rows of a matrix of bytes as an array of binary values; of a row that is not `whole`, its first byte."""
    count, width = written.shape
    lengths = np.full(count, width) if whole is None else np.where(whole, width, 1)
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    if whole is not None and not whole.all():
        kept = np.repeat(whole[:, np.newaxis], width, axis=1)
        kept[:, 0] = True
        written = written[kept]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(written))]
    return pa.Array.from_buffers(pa.binary(), count, buffers)
