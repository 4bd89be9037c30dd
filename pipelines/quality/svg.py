"""Plots as SVG images, drawn from text in less than a millisecond: for what runs of tables and online stores show."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from pipelines.quality.plots import ACCENT, INK

#: Points in pixels from the upper left corner; NaN where there is none.
Points = Sequence[tuple[float, float]]


def image(width: float, height: float, parts: Iterable[str]) -> bytes:
    """An SVG image of some parts, its size in pixels."""
    body = "\n".join(parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
    style = f'height="{height:g}" font-family="sans-serif" style="background:#fff">\n'
    return f"{head}{style}{body}\n</svg>\n".encode()


def words(x: float, y: float, text: str, *, size: float = 9, color: str = INK, anchor: str = "start") -> str:
    """A text whose baseline begins, or with `anchor="end"` ends, at a point; what XML cannot hold is shown as `?`."""
    shown = html.escape("".join(letter if letter.isprintable() else "?" for letter in text))
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{color}" text-anchor="{anchor}">{shown}</text>'


def line(points: Points, *, color: str, width: float = 1.4, dots: float = 0) -> str:
    """A line through points, with dots of this radius; it is broken where a point is missing."""
    runs: list[list[str]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            runs[-1].append(f"{x:.1f},{y:.1f}")
        elif runs[-1]:
            runs.append([])
    drawn = [
        f'<polyline points="{" ".join(run)}" fill="none" stroke="{color}" stroke-width="{width:g}"/>'
        for run in runs
        if len(run) > 1
    ]
    places = [point.split(",") for run in runs for point in run] if dots else []
    drawn += [f'<circle cx="{x}" cy="{y}" r="{dots:g}" fill="{color}"/>' for x, y in places]
    return "".join(drawn)


def area(lower: Points, upper: Points, *, color: str) -> str:
    """The area between two lines with the same x; broken where a point is missing."""
    pieces: list[list[tuple[float, float, float]]] = [[]]
    for (x, low), (_, high) in zip(lower, upper, strict=True):
        if math.isfinite(low) and math.isfinite(high):
            pieces[-1].append((x, low, high))
        elif pieces[-1]:
            pieces.append([])
    drawn = []
    for piece in pieces:
        around = [(x, low) for x, low, _ in piece] + [(x, high) for x, _, high in reversed(piece)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in around)
        drawn += [f'<polygon points="{points}" fill="{color}" fill-opacity="0.45"/>'] if points else []
    return "".join(drawn)


def bar(x: float, bottom: float, width: float, height: float, *, color: str) -> str:
    """A bar that stands on `bottom`, with `x` in its middle."""
    return (
        f'<rect x="{x - width / 2:.1f}" y="{bottom - height:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{color}"/>'
    )


def bars(values: Mapping[str, float], *, title: str) -> bytes:
    """An image of horizontal bars, one for each name, the first at the top, with its value beside it."""
    height, name_width, longest = 22, 7 * max(map(len, values), default=0) + 16, 320
    scale = longest / (max(values.values(), default=0) or 1)
    parts = [words(8, 18, title, size=12)]
    for place, (name, value) in enumerate(values.items()):
        bottom, width = 30 + height * (place + 0.85), scale * value
        parts += [
            words(name_width - 6, bottom - 4, name, size=11, anchor="end"),
            bar(name_width + width / 2, bottom, width, 0.7 * height, color=ACCENT),
            words(name_width + width + 5, bottom - 4, f"{value:,}", size=11),
        ]
    return image(name_width + longest + 90, 30 + height * len(values) + 8, parts)
