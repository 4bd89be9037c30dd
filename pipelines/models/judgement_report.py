"""How a gate's decision is shown: tables of the model card, and plots."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.models.gate import GateDecision
from pipelines.models.judgement import SHOWN_CONFIDENCE, SliceFigures
from pipelines.quality import plots


def lines(decision: GateDecision) -> list[str]:
    """The comparisons, slices and gaps as Markdown."""
    judgement, compared = decision.judgement, decision.comparisons
    drawn = f"rows that agree in {' and '.join(decision.gate.together)}" if decision.gate.together else "single rows"
    method = (
        f"Paired bootstrap of {judgement.units:,} units ({drawn}) in {judgement.resamples:,} draws. A bound is wrong "
        f"with probability {1 - max(judgement.confidence, SHOWN_CONFIDENCE):.2g} at most; a difference whose bounds "
        "have different signs may be chance."
    )
    if judgement.confidence < SHOWN_CONFIDENCE:
        method += (
            f" The gate asks for less: that a challenger wins which is no better, it lets happen with probability "
            f"{1 - judgement.confidence:.2g} in each comparison."
        )
    method += "\n"
    text = [
        "\n## Comparison with the opponents\n",
        method,
        "| metric | opponent | challenger | opponent's | difference | lower bound | upper bound | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in compared:
        own = each.difference
        low, high = own.shown
        chance = "may be chance" if low <= 0 <= high else ""
        verdict = ", ".join(filter(None, ("won" if each.won else "", chance))) or "lost"
        values = (own.challenger_value, own.opponent_value)
        bounds = (own.challenger_value - own.opponent_value, low, high)
        cells = [*(f"{value:.4f}" for value in values), *(f"{value:+.4f}" for value in bounds), verdict]
        text.append(f"| {own.metric} | {own.opponent} | " + " | ".join(cells) + " |")
    apart = " and ".join(("row keys", *decision.gate.apart))
    strongest = ", ".join(f"{each.name} {each.skill:.3f}" for each in judgement.single_inputs)
    text.append(f"\nGuards against leakage: {apart} are on one side, training or comparison.")
    if strongest:
        text[-1] += f" What single inputs tell of the label: {strongest}."
    for declared in decision.gate.slices:
        text += _slices([each for each in judgement.slices if each.column == declared.column])
        text += [
            f"- {gap.metric} lies {gap.distance:.4f} apart between {gap.lowest} and {gap.highest}, and "
            f"{max(gap.low, 0):.4f} at least if not by chance; allowed {declared.largest_gap[gap.metric]:g}"
            for gap in judgement.gaps
            if gap.column == declared.column
        ]
    return text


def draw(decision: GateDecision) -> dict[str, bytes]:
    """The plots as PNG images by name: of the differences, and of the slices of each column."""
    by_metric: dict[str, dict[str, tuple[float, float, float]]] = {}
    for comparison in decision.comparisons:
        own = comparison.difference
        observed = own.challenger_value - own.opponent_value
        by_metric.setdefault(own.metric, {})[f"against {own.opponent}"] = (observed, *own.shown)
    images = {"differences": plots.differences(by_metric, title="Challenger minus opponent, gate window")}
    for declared in decision.gate.slices:
        slices = [each for each in decision.judgement.slices if each.column == declared.column]
        values: dict[str, dict[str, dict[str, float]]] = {}
        for each in slices:
            for contender, metrics in each.values.items():
                for metric, value in metrics.items():
                    values.setdefault(metric, {}).setdefault(contender, {})[_name(each)] = value
        title = f"Slices of {declared.column}, gate window"
        images[f"slices_{declared.column}"] = plots.slices([_name(each) for each in slices], values, title=title)
    return images


def _slices(slices: Sequence[SliceFigures]) -> list[str]:
    """A table of the slices of one column: the metrics of every contender, and each difference that is judged."""
    metrics = list(dict.fromkeys(metric for each in slices for own in each.values.values() for metric in own))
    contenders = list(slices[0].values) if slices else []
    names = [f"{metric} of the {who}" for metric in metrics for who in contenders]
    text = [
        f"\n### Slices of {slices[0].column if slices else 'no rows'}\n",
        f"| value | rows | {' | '.join(names)} | difference with its bounds |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for each in slices:
        values = [each.values[who].get(metric) for metric in metrics for who in contenders]
        cells = ["no value" if value is None else f"{value:.4f}" for value in values]
        judged = [
            f"{own.metric} against {own.opponent} {own.challenger_value - own.opponent_value:+.4f} "
            "({:+.4f} to {:+.4f})".format(*own.shown)
            for own in each.differences
        ]
        why = f"not judged: {each.not_judged}" if each.not_judged else "; ".join(judged) or "shown alone"
        text.append(f"| {_cell(each.value)} | {each.rows:,} | {' | '.join(cells)} | {why} |")
    return [*text, ""]


def _name(each: SliceFigures) -> str:
    return f"{each.value} ({each.rows:,})"


def _cell(text: str) -> str:
    """Text in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
