"""How everything here is measured: alternating pairs after a warm-up, medians, and the ratio pair by pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `ratio` is ours over the peer's, None where there is no peer."""

    name: str
    ours: str
    peer: str
    ratio: float | None
    note: str = ""


def pairs(ours: Callable[[], object], peer: Callable[[], object], *, rounds: int) -> tuple[float, float, float]:
    """Median wall seconds of ours and of the peer, and the median of the ratios, over A B A B … after one warm-up."""
    ours()
    peer()
    a, b = [], []
    for _ in range(rounds):
        a.append(seconds(ours))
        b.append(seconds(peer))
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    return statistics.median(a), statistics.median(b), statistics.median(ratios)


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of the values lies."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
