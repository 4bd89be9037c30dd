"""The season and the time of day as numbers without a jump: columns of gold/hours, and of a request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipelines.features.on_demand import OnDemand

#: Seconds; of the mean tropical year.
PERIODS = {"day": 86_400, "year": 31_556_925}


def cycles(columns: Mapping[str, Any], pc: Any) -> dict[str, Any]:
    """The sine and cosine of an instant in the day and in the year.

    Both are counted in UTC: the sun knows no daylight saving time.
    """
    seconds = pc.divide(columns["valid_at"].cast("int64"), 1_000_000)
    cycles = {}
    for name, period in PERIODS.items():
        since_turn = pc.subtract(seconds, pc.multiply(pc.divide(seconds, period), period))
        angle = pc.divide(pc.multiply(2.0 * math.pi, since_turn), float(period))
        cycles |= {f"{name}_sin": pc.sin(angle), f"{name}_cos": pc.cos(angle)}
    return cycles


CYCLES = OnDemand(
    name="season",
    inputs={"valid_at": "timestamp"},
    outputs=dict.fromkeys(("day_sin", "day_cos", "year_sin", "year_cos"), "double"),
    compute=cycles,
)
