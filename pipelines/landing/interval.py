"""Intervals: the day, or the instant, that a delivery covers, as the name of its folder says it.

An interval is an ISO 8601 date, `2026-11-19`, or an instant in UTC, `2026-11-19T10Z`, `2026-11-19T1015Z`,
`2026-11-19T101500Z` or `2026-11-19T101500.123456Z`. Files under any other name stay in landing, and are reported.
Intervals are compared by `order`, never as text.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta

#: How the folder of an interval begins.
INTERVAL = "dt="
EXPECTED = "a folder dt=2026-11-19, or dt=2026-11-19T101500Z for an instant in UTC"
_FORM = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?Z)?", re.ASCII)
#: How far ahead of the clock an interval may be: a day begins first in the time zones of the east.
AHEAD = timedelta(days=1)


@functools.lru_cache(maxsize=10_000)
def start(text: str) -> datetime | None:
    """The instant, UTC, at which an interval begins; None for a text that is no interval."""
    try:
        parsed = datetime.fromisoformat(text) if _FORM.fullmatch(text) else None
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed else None


def is_interval(text: str | None) -> bool:
    """Whether a text is an interval; a partition of a table may be null."""
    return start(text or "") is not None


def order(text: str) -> tuple[datetime, str]:
    """What intervals are sorted by: their beginning. A text that is no interval comes first."""
    return start(text) or datetime.min.replace(tzinfo=UTC), text


def is_ahead(text: str, now: datetime) -> bool:
    """Whether an interval begins more than a day after an instant, UTC."""
    return order(text)[0] > now + AHEAD
