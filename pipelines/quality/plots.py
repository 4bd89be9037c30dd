"""Plots as PNG images, and as Markdown that Dagster shows."""

from __future__ import annotations

import base64
import io
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
    return _png(figure)


def calibration(curves: Mapping[str, Points]) -> bytes:
    """A PNG of calibration curves by name; a point is (mean predicted probability, observed share)."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label="perfect")
    for (name, points), color in zip(curves.items(), (ACCENT, INK), strict=False):
        axes.plot(*zip(*points, strict=True), label=name, color=color, linewidth=1.8, marker="o", markersize=4)
    axes.set(xlabel="predicted probability", ylabel="observed share of positives", title="Calibration, gate window")
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def bars(values: Mapping[str, float], *, title: str) -> bytes:
    """A PNG of horizontal bars, one for each name, the first at the top, with its value beside it."""
    figure, axes = _figure()
    figure.set_size_inches(5.6, 0.9 + 0.28 * len(values))
    drawn = axes.barh(list(values), list(values.values()), color=ACCENT, height=0.7)
    axes.bar_label(drawn, [f"{value:,}" for value in values.values()], padding=3, color=INK, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.tick_params(labelsize=8)
    axes.set(title=title)
    return _png(figure)


def markdown(*images: bytes) -> str:
    """PNG images as one Markdown text, for Dagster's metadata."""
    return "\n".join(f"![plot]({data_uri(image)})" for image in images)


def data_uri(image: bytes) -> str:
    """A PNG image as a `data:` URI."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def _figure() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
