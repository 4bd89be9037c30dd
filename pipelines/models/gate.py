"""The gate: whether a challenger may become the champion, by figures on a window that no contender was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.errors import ModelError
from pipelines.models.tasks import Better


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of the challenger against one opponent, and which value is better."""

    metric: str
    opponent: str
    challenger_value: float
    opponent_value: float
    better: Better

    @property
    def won(self) -> bool:
        difference = self.challenger_value - self.opponent_value
        return difference > 0 if self.better == "greater" else difference < 0


@dataclass(frozen=True, slots=True)
class GateDecision:
    """All comparisons on one window; passed if the challenger wins each of them."""

    window: str
    comparisons: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        return all(comparison.won for comparison in self.comparisons)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that were compared, each once."""
        return tuple(dict.fromkeys(comparison.metric for comparison in self.comparisons))

    @property
    def reason(self) -> str:
        lost = [f"{c.metric} {c.challenger_value:.4f} against {c.opponent} {c.opponent_value:.4f}"
                for c in self.comparisons if not c.won]  # fmt: skip
        return "beats every opponent" if not lost else "does not beat: " + "; ".join(lost)


def decide(
    *,
    metrics: Mapping[str, Better],
    challenger: Mapping[str, float],
    opponents: Mapping[str, Mapping[str, float]],
    window: str,
) -> GateDecision:
    """Compares the challenger with each opponent, by every gate metric.

    Args:
        metrics: The metrics that the challenger must win, as `tasks.gate_metrics` returns them.
        challenger: Its value of each metric.
        opponents: Their values, by name.
        window: Where they were compared.

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
    for name, values in {"challenger": challenger, **opponents}.items():
        if missing := metrics.keys() - values.keys():
            raise ModelError(
                object="gate",
                observed=f"{name} lacks {', '.join(sorted(missing))}",
                expected=f"{', '.join(metrics)} for every contender",
                next_step="evaluate it on the gate window",
            )
    comparisons = [
        Comparison(metric, name, float(challenger[metric]), float(values[metric]), better)
        for name, values in opponents.items()
        for metric, better in metrics.items()
    ]
    return GateDecision(window, tuple(comparisons))
