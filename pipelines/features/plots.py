"""Plots of features as PNG images: many small panels in one image, those with a finding first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.quality.plots import ACCENT, INK, QUIET, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How many panels one image has at most, and in one row.
PANELS, COLUMNS = 12, 4
ALARM = "#b42318"
#: The width and the height of a panel in inches.
_WIDTH, _HEIGHT = 2.6, 1.5
#: The height of the title in inches, and the longest name that fits a panel.
_TITLE, _LONGEST = 0.5, 44


@dataclass(frozen=True, slots=True)
class Band:
    """A feature over time, oldest period first; NaN where a period has no values.

    Attributes:
        title: Its name.
        low: Of the values of each period, what 5 % of them lie below.
        middle: The median, or for texts the number of distinct values.
        high: What 95 % of them lie below.
        missing: The share of rows without a value.
        marked: Whether it has a finding.
    """

    title: str
    low: Sequence[float]
    middle: Sequence[float]
    high: Sequence[float]
    missing: Sequence[float]
    marked: bool


def bands(panels: Sequence[Band], *, title: str) -> bytes:
    """A PNG of features over time: median and 5 to 95 % of the values, and bars of the shares that are missing."""
    figure, axes = _grid(
        len(panels), f"{title}\nmedian (of texts: distinct values), 5 to 95 % of values; bars: missing"
    )
    for place, panel in enumerate(panels):
        left, bottom = _corner(place)
        color = ALARM if panel.marked else INK
        values = [value for value in (*panel.low, *panel.middle, *panel.high) if math.isfinite(value)]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        scale = 0.42 / ((high - low) or 1.0)
        xs = [left + 0.05 + 0.9 * n / max(len(panel.middle) - 1, 1) for n in range(len(panel.middle))]

        def y(
            points: Sequence[float], low: float = low, scale: float = scale, base: float = bottom + 0.3
        ) -> list[float]:
            return [base + scale * (point - low) if math.isfinite(point) else math.nan for point in points]

        axes.fill_between(xs, y(panel.low), y(panel.high), color=QUIET, alpha=0.45, linewidth=0)
        axes.plot(xs, y(panel.middle), color=color, linewidth=1.2, marker=".", markersize=3)
        bars = [0.16 * share for share in panel.missing]
        axes.bar(xs, bars, bottom=bottom + 0.08, width=0.04, color=ALARM if panel.marked else ACCENT)
        _name(axes, panel.title, left, bottom, color)
        axes.text(
            left + 0.05, bottom + 0.79, f"{low:.4g} to {high:.4g}" if values else "no value", fontsize=6, color=INK
        )
    return png(figure)


def _grid(panels: int, title: str) -> tuple[Figure, Any]:
    """A figure with one axes for all panels, a unit square each: axes of their own would take seconds to draw."""
    from matplotlib.figure import Figure

    columns, rows = min(panels, COLUMNS) or 1, math.ceil(panels / COLUMNS) or 1
    height = rows * _HEIGHT + _TITLE
    figure = Figure(figsize=(max(2, columns) * _WIDTH, height), dpi=100)
    axes = figure.add_axes((0.005, 0, 0.99, 1 - _TITLE / height))
    axes.axis("off")
    axes.set(xlim=(0, columns), ylim=(-rows, 0))
    axes.set_title(title, fontsize=8, loc="left", color=INK)
    return figure, axes


def _name(axes: Any, name: str, left: float, bottom: float, color: str) -> None:
    shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    axes.text(left + 0.05, bottom + 0.9, shown, fontsize=7, color=color, parse_math=False)


def _corner(place: int) -> tuple[int, int]:
    """The left and the lower edge of a panel."""
    return place % COLUMNS, -(place // COLUMNS) - 1
