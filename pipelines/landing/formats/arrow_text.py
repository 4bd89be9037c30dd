"""Typed Arrow values as text that reads back as the same value.

A timestamp with a time zone is its instant in UTC, with a `Z`; one without is as it stands. Decimals and numbers have
all their digits, durations are counts of their unit, bytes are base64. Lists, structs and maps are JSON: numbers as
numbers, what JSON has no form for as text, a map as an object.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

#: How Arrow's text of a date or timestamp begins that lies beyond its calendar.
BEYOND_CALENDAR = "<value out of range: "


def texts(values: pa.Array) -> pa.Array:
    """The values as text."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them

    kind = values.type
    if isinstance(kind, pa.UuidType):
        return pa.array(
            [None if v is None else str(uuid.UUID(bytes=v)) for v in values.storage.to_pylist()], pa.string()
        )
    if isinstance(kind, pa.BaseExtensionType):
        return texts(values.storage)
    if pa.types.is_dictionary(kind):
        return texts(values.dictionary_decode())
    if pa.types.is_nested(kind):
        return pa.array([None if text == "null" else text for text in _json(values)], pa.string())
    if _is_bytes(kind):
        return pa.array([None if v is None else base64.b64encode(v).decode() for v in values.to_pylist()], pa.string())
    if pa.types.is_decimal(kind):
        return _decimals(values.cast(pa.string()))
    if pa.types.is_timestamp(kind) and kind.tz:
        # Arrow writes a year of more than 15 bits as another year if the timestamp has a time zone.
        local = values.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit)).cast(pa.string())
        return pc.binary_join_element_wise(local, "Z", "")
    return values.cast(pa.string())


def with_nanoseconds(micros: pa.Array, wrapped_nanos: pa.Array) -> pa.Array:
    """Timestamps as text, to the nanosecond, also where their count of nanoseconds needs more than 64 bits.

    Args:
        micros: The timestamps, cut to microseconds.
        wrapped_nanos: The same timestamps in nanoseconds, modulo 2^64.
    """
    import numpy as np
    import pyarrow as pa

    cut = micros.cast(pa.int64()).fill_null(0).to_numpy()
    below = wrapped_nanos.cast(pa.int64()).fill_null(0).to_numpy() - cut * 1000  # exact: both are modulo 2^64
    cut, below = cut + below // 1000, below % 1000
    text = pa.array(cut, pa.timestamp("us"), mask=micros.is_null().to_numpy(zero_copy_only=False)).cast(pa.string())
    if not np.any(below):
        return text
    pairs = zip(text.to_pylist(), below.tolist(), strict=True)
    return pa.array([None if t is None else f"{t}{nanos:03d}" for t, nanos in pairs], pa.string())


def beyond_calendar(kind: pa.DataType, text: pa.Array) -> set[int]:
    """The positions of the texts of this type that name no value: a date in them lies beyond Arrow's calendar."""
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them

    if not _has_dates(kind):
        return set()
    return {n for n, beyond in enumerate(pc.match_substring(text, BEYOND_CALENDAR).to_pylist()) if beyond}


def _has_dates(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _has_dates(kind.value_type)
    nested = [kind.field(n).type for n in range(kind.num_fields)]
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind) or any(map(_has_dates, nested))


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(is_kind(kind) for is_kind in kinds)


def _decimals(text: pa.Array) -> pa.Array:
    """Decimals without exponents: Arrow writes a small one of many decimals as `0E-8`."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them

    if not pc.any(pc.match_substring(text, "E")).as_py():
        return text
    return pa.array([t and (f"{Decimal(t):f}" if "E" in t else t) for t in text.to_pylist()], pa.string())


def _json(values: pa.Array) -> Sequence[str]:
    """The values as JSON texts."""
    import pyarrow as pa

    kind = values.type
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        return _json(values.storage)
    if pa.types.is_dictionary(kind):
        return _json(values.dictionary_decode())
    if pa.types.is_struct(kind):
        return _objects(values)
    if pa.types.is_map(kind):
        entries = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
        return _lists(values.cast(pa.list_(entries)), are_maps=True)
    if pa.types.is_nested(kind):
        return _lists(values)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return [
        "null"
        if text is None
        else text
        if pa.types.is_boolean(kind) or (is_number and text[-1].isdigit())  # nan and inf are no numbers of JSON
        else json.dumps(text, ensure_ascii=False)
        for text in texts(values).to_pylist()
    ]


def _objects(values: pa.Array) -> list[str]:
    names = [json.dumps(values.type.field(n).name, ensure_ascii=False) for n in range(values.type.num_fields)]
    fields = [_json(field) for field in values.flatten()]
    return [
        "{" + ", ".join(f"{name}: {field[n]}" for name, field in zip(names, fields, strict=True)) + "}"
        if valid
        else "null"
        for n, valid in enumerate(values.is_valid().to_pylist())
    ]


def _lists(values: pa.Array, *, are_maps: bool = False) -> list[str]:
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them

    inner = values.flatten()
    if are_maps:
        keys, items = inner.flatten()
        names = [key if key.startswith('"') else json.dumps(key, ensure_ascii=False) for key in _json(keys)]
        parts: Sequence[str] = [f"{name}: {item}" for name, item in zip(names, _json(items), strict=True)]
    else:
        parts = _json(inner)
    before, after = "{}" if are_maps else "[]"
    found, position = [], 0
    for length in pc.list_value_length(values).to_pylist():
        if length is None:
            found.append("null")
            continue
        found.append(before + ", ".join(parts[position : position + length]) + after)
        position += length
    return found
