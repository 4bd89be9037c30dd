"""Plots as PNG images, and images as Markdown that Dagster shows."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, ACCENT, QUIET = "#1f2933", "#b7791f", "#9aa5b1"
#: A curve's points, (x, y).
Points = Sequence[tuple[float, float]]


def roc(curves: Mapping[str, Points]) -> bytes:
    """A PNG of ROC curves by name; a point is (false positive rate, true positive rate)."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
    for (name, points), color in zip(curves.items(), (ACCENT, INK, QUIET), strict=False):
        axes.plot(*zip(*points, strict=True), label=name, color=color, linewidth=1.8)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, gate window")
    axes.legend(frameon=False, loc="lower right")
    return png(figure)


def calibration(curves: Mapping[str, Points]) -> bytes:
    """A PNG of calibration curves by name; a point is (mean predicted probability, observed share)."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label="perfect")
    for (name, points), color in zip(curves.items(), (ACCENT, INK), strict=False):
        axes.plot(*zip(*points, strict=True), label=name, color=color, linewidth=1.8, marker="o", markersize=4)
    axes.set(xlabel="predicted probability", ylabel="observed share of positives", title="Calibration, gate window")
    axes.legend(frameon=False, loc="upper left")
    return png(figure)


def predicted_against_actual(points: Mapping[str, Points]) -> bytes:
    """A PNG of predictions by contender; a point is (true value, predicted value). The first contender lies on top."""
    figure, axes = _figure()
    for place, (name, own) in reversed(list(enumerate(points.items()))):
        color = (ACCENT, QUIET, INK)[place % 3]
        axes.scatter(*zip(*own, strict=True), label=name, color=color, s=7, alpha=0.6, linewidths=0)
    low, high = min(*axes.get_xlim(), *axes.get_ylim()), max(*axes.get_xlim(), *axes.get_ylim())
    axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle=":")
    axes.set(xlabel="true value", ylabel="predicted value", title="Predictions, gate window")
    axes.legend(frameon=False, loc="upper left")
    return png(figure)


def residuals(histograms: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    """A PNG of histograms by contender: `shares` of rows, between `edges` of predicted minus true value."""
    figure, axes = _figure()
    for (name, histogram), color in zip(histograms.items(), (ACCENT, INK, QUIET), strict=False):
        edges, shares = histogram["edges"], histogram["shares"]
        density = [share / (end - start) for share, start, end in zip(shares, edges[:-1], edges[1:], strict=True)]
        axes.stairs(density, edges, label=name, color=color, linewidth=1.6)
    axes.axvline(0, color=QUIET, linewidth=1, linestyle=":")
    axes.set(xlabel="predicted minus true value", ylabel="density of rows", title="Residuals, gate window")
    axes.legend(frameon=False)
    return png(figure)


def interval_coverage(curves: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A PNG by contender of `points` (mean predicted value, share of true values inside the interval), and `level`."""
    figure, axes = _figure()
    for level in sorted({curve["level"] for curve in curves.values()}):
        axes.axhline(level, color=QUIET, linewidth=1, linestyle=":", label=f"level {level:g}")
    for (name, curve), color in zip(curves.items(), (ACCENT, INK, QUIET), strict=False):
        axes.plot(*zip(*curve["points"], strict=True), label=name, color=color, linewidth=1.8, marker="o", markersize=4)
    axes.set_ylim(0, 1.02)
    axes.set(xlabel="predicted value", ylabel="share inside the interval", title="Interval, gate window")
    axes.legend(frameon=False, loc="lower right")
    return png(figure)


def confusion(matrices: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A PNG of the first contender's `counts` of rows, by true (rows) and predicted (columns) of the `labels`."""
    figure, axes = _figure()
    matrix = next(iter(matrices.values()))
    labels, counts = matrix["labels"], matrix["counts"]
    figure.set_size_inches(2.6 + 0.34 * len(labels), 2.2 + 0.34 * len(labels))
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            color = "white" if shares[y][x] > 0.5 else INK
            axes.text(x, y, f"{count:,}", ha="center", va="center", fontsize=6, color=color)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion, gate window")
    return png(figure)


def recall(recalls: Mapping[str, Mapping[str, float]]) -> bytes:
    """A PNG of the share of each label's rows that the first contender recognized, the first label at the top."""
    figure, axes = _figure()
    own = next(iter(recalls.values()))
    figure.set_size_inches(5.6, 0.9 + 0.28 * len(own))
    drawn = axes.barh(list(own), list(own.values()), color=ACCENT, height=0.7)
    axes.bar_label(drawn, [f"{share:.3f}" for share in own.values()], padding=3, color=INK, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.tick_params(labelsize=8)
    axes.set(title="Recall, gate window")
    return png(figure)


def rouge_l(overlaps: Mapping[str, Sequence[float]]) -> bytes:
    """A PNG by contender of the share of written answers that come at least so close to the known ones (ROUGE-L)."""
    figure, axes = _figure()
    for (name, own), color in zip(overlaps.items(), (ACCENT, INK, QUIET), strict=False):
        closest_first = sorted(own, reverse=True)
        shares = [(place + 1) / len(closest_first) for place in range(len(closest_first))]
        axes.step(closest_first, shares, label=name, color=color, linewidth=1.8)
    axes.set_xlim(0, 1)
    axes.set(xlabel="ROUGE-L, at least", ylabel="share of answers", title="Written answers, gate window")
    axes.legend(frameon=False)
    return png(figure)


def samples(answers: Mapping[str, Sequence[Mapping[str, str]]]) -> bytes:
    """A PNG of rows side by side: `question`, `known` answer, and what each contender has `written`."""
    figure, axes = _figure()
    rows = next(iter(answers.values()))
    names = ["question", "known", *answers]
    cells = [
        [
            _wrapped(text)
            for text in (row["question"], row["known"], *(own[place]["written"] for own in answers.values()))
        ]
        for place, row in enumerate(rows)
    ]
    figure.set_size_inches(2.5 * len(names), 0.6 + 0.9 * len(cells))
    axes.axis("off")
    table = axes.table(cells, colLabels=names, cellLoc="left", bbox=(0, 0, 1, 1))
    table.auto_set_font_size(False)
    table.set_fontsize(6)
    axes.set_title("Answers side by side, gate window")
    return png(figure)


def _wrapped(text: str) -> str:
    """A text in at most six lines; what a formula would begin with is a character like any other."""
    lines = textwrap.wrap(text.replace("$", r"\$"), width=44) or [""]
    return "\n".join([*lines[:5], lines[5] + " …"] if len(lines) > 6 else lines)


def differences(rows: Mapping[str, Mapping[str, tuple[float, float, float]]], *, title: str) -> bytes:
    """A PNG with a panel for each metric: per row its difference, between a lower and an upper bound."""
    panels = _panels(len(rows), max(map(len, rows.values()), default=1))
    for axes, (metric, own) in zip(panels[1], rows.items(), strict=True):
        axes.axvline(0, color=QUIET, linewidth=1, linestyle=":")
        for place, (observed, low, high) in enumerate(own.values()):
            axes.plot([low, high], [place, place], color=INK, linewidth=1.4)
            axes.plot([observed], [place], color=ACCENT, marker="o", markersize=5)
        _rows(axes, list(own), metric)
    panels[0].suptitle(title, fontsize=10)
    return png(panels[0])


def slices(names: Sequence[str], values: Mapping[str, Mapping[str, Mapping[str, float]]], *, title: str) -> bytes:
    """A PNG with a panel for each metric: per slice the value of each contender; a slice may lack one."""
    panels = _panels(max(1, len(values)), len(names))
    for axes, (metric, contenders) in zip(panels[1], values.items(), strict=False):
        for (contender, own), color in zip(contenders.items(), (ACCENT, INK, QUIET, "#5a7d9a"), strict=False):
            places = [place for place, name in enumerate(names) if name in own]
            axes.plot(
                [own[names[place]] for place in places],
                places,
                label=contender,
                color=color,
                marker="o",
                markersize=4,
                linestyle="none",
            )
        _rows(axes, names, metric)
    panels[1][0].legend(frameon=False, fontsize=7)
    panels[0].suptitle(title, fontsize=10)
    return png(panels[0])


def _panels(number: int, rows: int) -> tuple[Figure, Sequence[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.0 + 2.2 * number, 1.2 + 0.24 * rows), dpi=110, layout="constrained")
    return figure, figure.subplots(1, number, sharey=True, squeeze=False)[0]


def _rows(axes: Any, names: Sequence[str], metric: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel(metric, fontsize=8)


def markdown(*images: bytes) -> str:
    """PNG or SVG images as one Markdown text, for Dagster's metadata."""
    return "\n".join(f"![plot]({data_uri(image)})" for image in images)


def data_uri(image: bytes) -> str:
    """A PNG or SVG image as a `data:` URI."""
    kind = "svg+xml" if image.startswith(b"<svg") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _figure() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The image of a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
