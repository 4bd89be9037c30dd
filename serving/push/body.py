"""The body of a push: one JSON object, a JSON array of them, or JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pipelines.medallion.push_source import EVENT_ID, RECEIVED_AT
from serving.errors import RequestError

MAX_EVENTS = 1_000
LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class TooManyEvents(RequestError):
    """More events than one request may have."""


def events(body: bytes, content_type: str) -> list[dict[str, Any]]:
    """The events of a request.

    Raises:
        RequestError: naming the position, from 0 on, of the first one that is no event.
        TooManyEvents: for more than 1,000.
    """
    if content_type.partition(";")[0].strip().lower() in LINES:
        lines = [line for line in body.split(b"\n") if line.strip()]
        _require_few(lines)
        found = [_parsed(line, f"event {place}") for place, line in enumerate(lines)]
    else:
        parsed = _parsed(body, "body")
        found = parsed if isinstance(parsed, list) else [parsed]
        _require_few(found)
    if not found:
        raise _refusal("body", "no event", "one JSON object, an array of them, or JSON lines")
    for place, event in enumerate(found):
        _require_event(event, f"event {place}")
    return found


def idempotency_key(given: str | None) -> str | None:
    """The header's value; raises RequestError where it is none."""
    if given is not None and not _ID.fullmatch(given):
        raise _refusal("Idempotency-Key", repr(given[:80]), "1 to 200 visible ASCII characters")
    return given


def _parsed(text: bytes, what: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_no_number)
        json.dumps(value, allow_nan=False)  # 1e999 is a number to JSON, and infinite to us
        return value
    except (ValueError, RecursionError) as error:
        raise _refusal(what, f"no JSON: {error}", "a JSON object") from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _require_few(found: Sequence[object]) -> None:
    if len(found) > MAX_EVENTS:
        raise TooManyEvents(
            object="body",
            observed=f"{len(found)} events",
            expected=f"at most {MAX_EVENTS}",
            next_step="send several requests",
        )


def _require_event(event: Any, what: str) -> None:
    if not isinstance(event, dict):
        raise _refusal(what, f"a JSON {type(event).__name__}", "a JSON object")
    if RECEIVED_AT in event:
        raise _refusal(f"{what}, {RECEIVED_AT}", repr(event[RECEIVED_AT])[:80], "no such member: the server sets it")
    name = event.get(EVENT_ID)
    if EVENT_ID in event and not (isinstance(name, str) and _ID.fullmatch(name)):
        raise _refusal(f"{what}, {EVENT_ID}", repr(name)[:80], "1 to 200 visible ASCII characters, or no such member")


def _refusal(what: str, observed: str, expected: str) -> RequestError:
    return RequestError(object=what, observed=observed, expected=expected, next_step="correct it; none was taken")
