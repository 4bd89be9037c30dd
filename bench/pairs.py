"""The method of the measurements: after a warm-up, runs of both sides by turns, medians, and the ratio of each pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `ratio` is our value divided by the peer's, None if there is no peer."""

    name: str
    ours: str
    peer: str
    ratio: float | None
    note: str = ""


def pairs(ours: Callable[[], object], peer: Callable[[], object], *, rounds: int) -> tuple[float, float, float]:
    """Runs both sides by turns, after a warm-up of each.

    Returns:
        The median wall seconds of ours and of the peer, and the median of the ratios of the pairs.
    """
    ours()
    peer()
    our_seconds, peer_seconds = [], []
    for _ in range(rounds):
        our_seconds.append(seconds(ours))
        peer_seconds.append(seconds(peer))
    ratios = [a / b for a, b in zip(our_seconds, peer_seconds, strict=True)]
    return statistics.median(our_seconds), statistics.median(peer_seconds), statistics.median(ratios)


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class CpuSeconds:
    """A call that also counts the CPU seconds of this process, which other work on the machine hardly changes."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work, self._each = work, list[float]()

    def __call__(self) -> object:
        started = time.process_time()
        result = self._work()
        self._each.append(time.process_time() - started)
        return result

    @property
    def median(self) -> float:
        """Of all calls but the first, the warm-up."""
        return statistics.median(self._each[1:])


def percentile(values: list[float], share: float) -> float:
    """The value below which this share (0 to 1) of the values lies."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
