"""The season and the time of day as numbers without a jump: what a request computes, as the gold table does."""

from __future__ import annotations

import math
from datetime import datetime

DAY_SECONDS = 86_400
#: The mean tropical year, to the second.
YEAR_SECONDS = 31_556_925


def cycles(at: datetime) -> dict[str, float]:
    """The sine and cosine of an instant in the day and in the year, by the names of the columns of gold/hours.

    Both are counted in UTC: the sun knows no daylight saving time.
    """
    seconds = int(at.timestamp())
    angles = {
        name: 2.0 * math.pi * (seconds % period) / period
        for name, period in {"day": DAY_SECONDS, "year": YEAR_SECONDS}.items()
    }
    return {f"{name}_{f.__name__}": f(angle) for name, angle in angles.items() for f in (math.sin, math.cos)}
