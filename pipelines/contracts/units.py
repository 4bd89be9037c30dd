"""Units of columns that count from an instant, in the form of the CF conventions.

Such as `minutes since 1970-01-01T00:00:00Z`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

_SINCE = re.compile(r"(?P<step>days|hours|minutes|seconds) since (?P<start>\S+)")


def instant(unit: str | None, value: object) -> datetime | None:
    """The instant, UTC, that a number of such a unit stands for; None for another unit, and for what is no number."""
    counts = _SINCE.fullmatch(unit or "")
    if counts is None or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    start = datetime.fromisoformat(counts["start"]).astimezone(UTC)
    return start + timedelta(**{counts["step"]: value})
