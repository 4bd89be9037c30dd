"""The body of a push request: one JSON object, a JSON array of them, or JSON lines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pipelines.medallion.push_source import EVENT_ID, RECEIVED_AT
from serving.errors import RequestError

MAX_EVENTS = 1_000
JSON_LINES_TYPES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class TooManyEvents(RequestError):
    """One request has more than `MAX_EVENTS` events."""


def events(body: bytes, content_type: str) -> list[dict[str, Any]]:
    """The events of a request body.

    Raises:
        RequestError: if the body is no JSON, or an event is invalid; it names the first by its place, from 0 on.
        TooManyEvents: if there are more than 1,000.
    """
    if content_type.partition(";")[0].strip().lower() in JSON_LINES_TYPES:
        lines = [line for line in body.split(b"\n") if line.strip()]
        _require_few(lines)
        parsed = [_parsed(line, f"event {place}") for place, line in enumerate(lines)]
    else:
        value = _parsed(body, "body")
        parsed = value if isinstance(value, list) else [value]
        _require_few(parsed)
    if not parsed:
        raise _refusal("body", "no event", "one JSON object, an array of them, or JSON lines")
    for place, event in enumerate(parsed):
        _require_event(event, f"event {place}")
    return parsed


def idempotency_key(header: str | None) -> str | None:
    """The value of the header `Idempotency-Key`; raises RequestError if it is not a valid key."""
    if header is not None and not _ID.fullmatch(header):
        raise _refusal("Idempotency-Key", repr(header[:80]), "1 to 200 visible ASCII characters")
    return header


def _parsed(text: bytes, field: str) -> Any:
    try:
        return json.loads(
            text, parse_float=_exact_float, parse_constant=_refuse_constant, object_pairs_hook=_unrepeated
        )
    except (ValueError, RecursionError) as error:
        raise _refusal(field, f"no JSON: {error}", "a JSON object") from None


def _exact_float(text: str) -> float:
    """The number; raises ValueError if a float would have another value, as the number of more than 17 digits has."""
    value = float(text)
    if not math.isfinite(value) or Decimal(repr(value)) != Decimal(text):
        raise ValueError(f"the number {text[:80]} has more digits than a float holds: send it as a text")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _unrepeated(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these members; raises ValueError if a name repeats, of which JSON readers keep any one."""
    value: dict[str, Any] = {}
    for name, member in members:
        if name in value:
            raise ValueError(f"an object has the member {name[:80]!r} twice")
        value[name] = member
    return value


def _require_few(events: Sequence[object]) -> None:
    if len(events) > MAX_EVENTS:
        raise TooManyEvents(
            object="body",
            observed=f"{len(events)} events",
            expected=f"at most {MAX_EVENTS}",
            next_step="send several requests",
        )


def _require_event(event: Any, field: str) -> None:
    if not isinstance(event, dict):
        raise _refusal(field, f"a JSON {type(event).__name__}", "a JSON object")
    if RECEIVED_AT in event:
        observed = repr(event[RECEIVED_AT])[:80]
        raise _refusal(f"{field}, {RECEIVED_AT}", observed, "no such member: the server sets it")
    event_id = event.get(EVENT_ID)
    if EVENT_ID in event and not (isinstance(event_id, str) and _ID.fullmatch(event_id)):
        observed = repr(event_id)[:80]
        raise _refusal(f"{field}, {EVENT_ID}", observed, "1 to 200 visible ASCII characters, or no such member")


def _refusal(field: str, observed: str, expected: str) -> RequestError:
    return RequestError(
        object=field, observed=observed, expected=expected, next_step="correct it; no event of the request was taken"
    )
