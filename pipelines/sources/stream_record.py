"""One record of a stream as one line of JSON: its own fields as they arrived, and `_stream` with its place there.

`_stream` has `partition`, `offset`, `timestamp` (of the broker's record, ISO 8601, UTC) and `key`, or `key_base64` if
the key is not UTF-8; `tombstone` marks a record without a payload. A payload that is not a JSON object becomes a line
that is not one either, so that bronze keeps it as malformed: the payload itself if it is one line of text, else
`base64:` and the payload's base64.
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
    """The line of one record with its line end; `milliseconds` is its time since the epoch, None if unknown."""
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
    # The text between the braces is kept, since parsing would turn 1.10 into 1.1; a line end in it is white space.
    return _joined(text.strip()[1:-1].replace("\n", " ").strip(), stream)


def instant(milliseconds: int | None) -> str | None:
    """Milliseconds since the epoch as an ISO 8601 text, UTC."""
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
    """The bytes as text; None if they are not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None if it is not one."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
