"""Units of columns that count from an instant, in the form of the CF conventions.

Such as `minutes since 1970-01-01T00:00:00Z`; the instant has an offset.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_SINCE = re.compile(r"(?P<step>days|hours|minutes|seconds) since (?P<start>\d\S+)")


def instant(unit: str | None, value: object) -> datetime | None:
    """The instant, UTC, that a number of such a unit stands for.

    None for another unit, for what is no number, and for an instant outside the years 1 to 9999.
    """
    counts = _SINCE.fullmatch(unit or "")
    if counts is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromisoformat(counts["start"]).astimezone(UTC) + timedelta(**{counts["step"]: value})
    except (OverflowError, ValueError):  # ValueError: a start that is no instant, or a value that is not a number
        return None
