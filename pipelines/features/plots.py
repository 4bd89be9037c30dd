"""Plots of features as SVG images: many small panels in one image, those with a finding first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.quality import svg
from pipelines.quality.plots import ACCENT, INK, QUIET

#: How many panels one image has at most, and in one row.
PANELS, COLUMNS = 12, 4
ALARM = "#b42318"
#: The width and the height of a panel in pixels.
WIDTH, HEIGHT = 260, 150
#: The height of the title in pixels, and the longest name and label that fit a panel.
_TITLE, _LONGEST, _LONGEST_LABEL = 40, 44, 18


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
    """An SVG of features over time: median and 5 to 95 % of the values, and bars of the shares that are missing."""
    note = "median (of texts: distinct values), 5 to 95 % of values; bars: missing"
    return _grid([title, note], [_band(panel, *_corner(place)) for place, panel in enumerate(panels)])


def _band(panel: Band, left: float, bottom: float) -> str:
    color = ALARM if panel.marked else INK
    values = [value for value in (*panel.low, *panel.middle, *panel.high) if math.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    scale = 0.42 * HEIGHT / ((high - low) or 1.0)
    step = 0.9 * WIDTH / max(len(panel.middle) - 1, 1)
    xs = [left + 0.05 * WIDTH + step * place for place in range(len(panel.middle))]
    base = bottom - 0.3 * HEIGHT

    def points(values: Sequence[float]) -> svg.Points:
        return [(x, base - scale * (value - low)) for x, value in zip(xs, values, strict=True)]

    bars = [
        svg.bar(x, bottom - 0.08 * HEIGHT, 0.04 * WIDTH, 0.16 * HEIGHT * share, color=ALARM if panel.marked else ACCENT)
        for x, share in zip(xs, panel.missing, strict=True)
        if share
    ]
    spread = f"{low:.4g} to {high:.4g}" if values else "no value"
    return "".join(
        [
            svg.area(points(panel.low), points(panel.high), color=QUIET),
            svg.line(points(panel.middle), color=color, width=1.2, dots=1.4),
            *bars,
            _name(panel.title, left, bottom, color),
            svg.words(left + 0.05 * WIDTH, bottom - 0.79 * HEIGHT, spread, size=8),
        ]
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two distributions of one feature over the same bins, the last of them for missing values.

    Attributes:
        title: Its name.
        reference: The share of each bin in the reference.
        now: The share of each bin now.
        labels: What the first and the last bin of values hold.
        marked: Whether it has drifted.
    """

    title: str
    reference: Sequence[float]
    now: Sequence[float]
    labels: tuple[str, str]
    marked: bool


def pairs(panels: Sequence[Pair], *, title: str) -> bytes:
    """An SVG of features with the shares of their bins: grey bars are the reference, the line is now."""
    note = "grey: reference, line: now, as shares of rows; the last bin: missing"
    return _grid([title, note], [_pair(panel, *_corner(place)) for place, panel in enumerate(panels)])


def _pair(panel: Pair, left: float, bottom: float) -> str:
    color = ALARM if panel.marked else INK
    scale = 0.52 * HEIGHT / (max(*panel.reference, *panel.now) or 1.0)
    width, base = 0.9 * WIDTH / len(panel.now), bottom - 0.2 * HEIGHT
    xs = [left + 0.05 * WIDTH + width * (place + 0.5) for place in range(len(panel.now))]
    labels = [
        svg.words(x, base + 10, label[:_LONGEST_LABEL], size=8, anchor=anchor)
        for x, label, anchor in zip((xs[0], xs[-2]), panel.labels, ("start", "end"), strict=True)
    ]
    bars = [
        svg.bar(x, base, 0.92 * width, scale * share, color=QUIET)
        for x, share in zip(xs, panel.reference, strict=True)
        if share
    ]
    now = [(x, base - scale * share) for x, share in zip(xs, panel.now, strict=True)]
    return "".join(
        [*bars, svg.line(now, color=color, width=1.3, dots=1.8), _name(panel.title, left, bottom, color), *labels]
    )


def seconds_over_time(lines: Mapping[str, Sequence[tuple[datetime, float]]], *, title: str) -> bytes:
    """An SVG of durations by name over time, on a logarithmic scale; a point is (instant, seconds)."""
    values = [max(seconds, 1e-3) for points in lines.values() for _, seconds in points]
    instants = [at for points in lines.values() for at, _ in points]
    decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9) + 1)
    left, right, top, bottom = 60, 620, 40, 250
    first, span = min(instants), (max(instants) - min(instants)).total_seconds() or 1.0
    height = (bottom - top) / max(decades[-1] - decades[0], 1)

    def place(at: datetime, seconds: float) -> tuple[float, float]:
        x = left + (right - left) * (at - first).total_seconds() / span
        return x, bottom - height * (math.log10(max(seconds, 1e-3)) - decades[0])

    parts = [svg.words(left, 16, title, size=12)]
    for decade in decades:
        y = bottom - height * (decade - decades[0])
        parts += [
            svg.line([(left, y), (right, y)], color=QUIET, width=0.4),
            svg.words(left - 6, y + 3, f"{10.0**decade:g} s", anchor="end"),
        ]
    for number, (name, points) in enumerate(lines.items()):
        color = (ACCENT, INK, QUIET, "#5a7d9a")[number % 4]
        parts += [
            svg.line([place(at, seconds) for at, seconds in points], color=color, dots=2),
            svg.words(left + 140 * number, 32, name, size=10, color=color),
        ]
    parts += [
        svg.words(left, bottom + 16, f"{first:%F %T}"),
        svg.words(right, bottom + 16, f"{max(instants):%F %T}", anchor="end"),
    ]
    return svg.image(640, 280, parts)


def _grid(title: Sequence[str], panels: Sequence[str]) -> bytes:
    """An image of panels below a title of some lines."""
    columns, rows = max(2, min(len(panels), COLUMNS)), math.ceil(len(panels) / COLUMNS) or 1
    lines = [svg.words(4, 14 + 14 * place, line, size=11) for place, line in enumerate(title)]
    return svg.image(columns * WIDTH, rows * HEIGHT + _TITLE, [*lines, *panels])


def _name(name: str, left: float, bottom: float, color: str) -> str:
    shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return svg.words(left + 0.05 * WIDTH, bottom - 0.9 * HEIGHT, shown, color=color)


def _corner(place: int) -> tuple[float, float]:
    """The left and the lower edge of a panel."""
    return place % COLUMNS * WIDTH, _TITLE + (place // COLUMNS + 1) * HEIGHT
