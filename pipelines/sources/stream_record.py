"""One record of a stream as one line of JSON: its own fields as they arrived, and `_stream` for where it stood.

`_stream` has partition, offset, timestamp (ISO 8601, UTC, of the broker's record) and key, which is `key_base64` where
it is no UTF-8 text; `tombstone` marks a record without a payload. A payload that is no JSON object becomes a line that
is none either, so that bronze keeps it as malformed: the payload itself where it is one line of text, else `base64:`
and its bytes.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

FIELD = "_stream"


def line(
    payload: bytes | None, *, partition: int, offset: int | str, milliseconds: int | None, key: bytes | None
) -> bytes:
    """The line of one record, with its line end; `milliseconds` is its time since the epoch, None where unknown."""
    stream: dict[str, Any] = {"partition": partition, "offset": offset, "timestamp": instant(milliseconds)}
    stream |= _key(key)
    if payload is None:
        return _joined("", stream | {"tombstone": True})
    text = _text(payload)
    record = None if text is None else _object(text)
    if text is None or (record is None and (not text.strip() or "\n" in text)):
        return b"base64:" + base64.b64encode(payload) + b"\n"
    if record is None:
        return text.encode() + b"\n"
    if FIELD in record:
        stream["payload"] = record[FIELD]
    # Between the braces the text stays as it arrived, or 1.10 would become 1.1; a line end there is only white space.
    return _joined(text.strip()[1:-1].replace("\n", " ").strip(), stream)


def instant(milliseconds: int | None) -> str | None:
    """Milliseconds since the epoch as ISO 8601, UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _joined(fields: str, stream: dict[str, Any]) -> bytes:
    separator = ", " if fields else ""
    return f'{{{fields}{separator}"{FIELD}": {json.dumps(stream)}}}\n'.encode()


def _key(key: bytes | None) -> dict[str, str | None]:
    text = None if key is None else _text(key)
    if key is None or text is not None:
        return {"key": text}
    return {"key_base64": base64.b64encode(key).decode()}


def _text(content: bytes) -> str | None:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _object(text: str) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
