"""The gate: whether a challenger may become the champion, by figures on a window that no contender was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.errors import ModelError

#: The metrics that a challenger must win, and whether a greater value is better.
METRICS: Mapping[str, bool] = {"auc": True, "log_loss": False}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of the challenger against one opponent."""

    metric: str
    opponent: str
    challenger_value: float
    opponent_value: float

    @property
    def won(self) -> bool:
        difference = self.challenger_value - self.opponent_value
        return difference > 0 if METRICS[self.metric] else difference < 0


@dataclass(frozen=True, slots=True)
class GateDecision:
    """All comparisons on one window; passed if the challenger wins each of them."""

    window: str
    comparisons: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        return all(comparison.won for comparison in self.comparisons)

    @property
    def reason(self) -> str:
        lost = [f"{c.metric} {c.challenger_value:.4f} against {c.opponent} {c.opponent_value:.4f}"
                for c in self.comparisons if not c.won]  # fmt: skip
        return "beats every opponent" if not lost else "does not beat: " + "; ".join(lost)


def decide(
    *, challenger: Mapping[str, float], opponents: Mapping[str, Mapping[str, float]], window: str
) -> GateDecision:
    """Compares the challenger with each opponent, by every gate metric.

    Raises:
        ModelError: if there is no opponent, or a contender lacks a metric of the gate.
    """
    if not opponents:
        raise ModelError(
            object="gate",
            observed="no opponent to compare the challenger with",
            expected="at least the baseline's metrics",
            next_step="evaluate the baseline on the same window",
        )
    for name, metrics in {"challenger": challenger, **opponents}.items():
        if missing := METRICS.keys() - metrics.keys():
            raise ModelError(
                object="gate",
                observed=f"{name} lacks {', '.join(sorted(missing))}",
                expected=f"{', '.join(METRICS)} for every contender",
                next_step="evaluate it on the gate window",
            )
    comparisons = [
        Comparison(metric, name, float(challenger[metric]), float(metrics[metric]))
        for name, metrics in opponents.items()
        for metric in METRICS
    ]
    return GateDecision(window, tuple(comparisons))
