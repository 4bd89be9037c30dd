"""Plots of a rollout over time as SVG images, from its history: the candidate's share, and both versions by guard."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.features.plots import ALARM
from pipelines.quality import svg
from pipelines.quality.plots import ACCENT, INK, QUIET
from pipelines.rollout import report, state
from pipelines.rollout.state import State
from pipelines.settings import Settings

#: The width and the height of a plot in pixels, and the edges of what is drawn in it.
WIDTH, HEIGHT = 640, 200
LEFT, RIGHT, TOP, BOTTOM = 60, 620, 46, 170
#: A figure, and the minutes from the start to it.
Seen = tuple[float, Mapping[str, Any]]
#: The guards whose bounds are those of the candidate's own share; those of the others are of the difference.
OF_THE_CANDIDATE = ("errors", "disagreement", "latency_p50", "latency_p99")


@dataclass(frozen=True, slots=True)
class Frame:
    """Where instants and values lie in a plot: instants in minutes since the start, values from `low` to `high`."""

    minutes: float
    low: float
    high: float

    def at(self, minutes: float, value: float) -> tuple[float, float]:
        """The point of a value in pixels; values outside lie at the edge, and NaN where there is none."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        y = BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0) if math.isfinite(value) else math.nan
        return LEFT + (RIGHT - LEFT) * minutes / (self.minutes or 1.0), y


def draw(settings: Settings, present: State) -> dict[str, bytes]:
    """SVG images by name: `share`, and one for each guard, for its field values too where they broke.

    Args:
        settings: Of the home folder.
        present: The rollout, at any time from its start on.
    """
    steps = state.history(settings, present)
    if not steps:
        return {}
    begun = datetime.fromisoformat(steps[0]["at"])
    times = [max((datetime.fromisoformat(step["at"]) - begun).total_seconds() / 60, 0.0) for step in steps]
    times = [max(times[: place + 1]) for place in range(len(times))]  # a clock that was set back draws no line back
    stages = [
        (at, present.plan.stages[step["stage"]].name)
        for at, step, before in zip(times, steps, [None, *steps], strict=False)
        if before is None or before["stage"] != step["stage"]
    ]
    drawn = {"share": _share(times, steps, stages, present)}
    for name, points in _series(times, steps):
        drawn[name] = _guard(name, points, times[-1], stages)
    return drawn


def _share(
    times: Sequence[float], steps: Sequence[Mapping[str, Any]], stages: Sequence[tuple[float, str]], present: State
) -> bytes:
    frame = Frame(times[-1], 0.0, 1.0)
    values: list[float] = []
    for step in steps:
        gone = step["what"] in ("start", "back", "returned")
        values.append(1.0 if step["what"] == "promoted" else 0.0 if gone else step["share"] or 0.0)
    points: list[tuple[float, float]] = []
    for place, (at, value) in enumerate(zip(times, values, strict=True)):
        points += [frame.at(at, values[place - 1])] if place else []
        points.append(frame.at(at, value))
    end = {"promoted": "it serves", "returned": "sent back"}.get(present.status, present.status)
    text = f"Questions that version {present.candidate['version']} answers, as a share; {end}"
    color = ALARM if present.status == "returned" else ACCENT
    base = [(x, BOTTOM) for x, _ in points]
    return _image(text, frame, stages, [svg.area(base, points, color=QUIET), svg.line(points, color=color, width=2)])


def _series(times: Sequence[float], steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Seen]]]:
    """The figures over time of each guard, for a field value only where it broke, by the name of the plot."""
    found: dict[tuple[str, str, str], list[Seen]] = {}
    for at, step in zip(times, steps, strict=True):
        for figure in step["figures"]:
            if figure["answers"]:
                seen = found.setdefault((figure["guard"], figure["value"], figure["how"]), [])
                seen.append((at, figure | {"stage": step["stage"]}))
    for (_, value, _), points in found.items():
        if not value or any(figure["broken"] for _, figure in points):
            yield report.title({**points[-1][1], "slow_ms": None}), points


def _guard(name: str, points: Sequence[Seen], minutes: float, stages: Sequence[tuple[float, str]]) -> bytes:
    """Both versions over time, the bounds of the candidate and its limit; each stage begins anew.

    Bounds and limits of differences are drawn from the serving version's value on.
    """
    runs: dict[str, list[tuple[float, float]]] = {"stable": [], "candidate": [], "low": [], "high": [], "limit": []}
    own = points[0][1]["guard"] in OF_THE_CANDIDATE
    stage = points[0][1]["stage"]
    for at, figure in points:
        if figure["stage"] != stage:
            stage = figure["stage"]
            for run in runs.values():
                run.append((at, math.nan))
        stable = figure["stable"] if figure["stable"] is not None and figure["slow_ms"] is None else None
        base = 0.0 if own or stable is None else stable
        runs["stable"].append((at, math.nan if stable is None else stable))
        runs["candidate"].append((at, figure["candidate"]))
        runs["low"].append((at, base + (-math.inf if figure["low"] is None else figure["low"])))
        runs["high"].append((at, base + (math.inf if figure["high"] is None else figure["high"])))
        runs["limit"].append((at, base + figure["limit"]))
    shown = [value for run in ("stable", "candidate", "limit") for _, value in runs[run] if math.isfinite(value)]
    reach = 2.5 * ((max(shown) - min(shown)) or max(map(abs, shown)) or 1.0)
    bounds = [value for run in ("low", "high") for _, value in runs[run] if math.isfinite(value)]
    low = max(min([*shown, *bounds]), min(shown) - reach)
    frame = Frame(minutes, low, min(max([*shown, *bounds]), max(shown) + reach))

    def line(run: str) -> list[tuple[float, float]]:
        edge = {"low": frame.low, "high": frame.high}.get(run, math.nan)
        return [frame.at(at, edge if math.isinf(value) else value) for at, value in runs[run]]

    broken = [frame.at(at, figure["candidate"]) for at, figure in points if figure["broken"]]
    parts = [
        svg.area(line("low"), line("high"), color=QUIET),
        svg.line(line("limit"), color=ALARM, width=1),
        svg.line(line("stable"), color=INK, dots=1.6),
        svg.line(line("candidate"), color=ACCENT, width=1.8, dots=2),
        svg.line(broken, color=ALARM, width=0.1, dots=4),
        svg.words(RIGHT, 30, "candidate", color=ACCENT, anchor="end"),
        svg.words(RIGHT - 52, 30, "serving version", color=INK, anchor="end"),
        svg.words(RIGHT - 132, 30, "limit", color=ALARM, anchor="end"),
        svg.words(RIGHT - 160, 30, "bounds", color=QUIET, anchor="end"),
    ]
    return _image(name, frame, stages, parts)


def _image(text: str, frame: Frame, stages: Sequence[tuple[float, str]], parts: Sequence[str]) -> bytes:
    marks = [svg.words(LEFT, 16, text, size=12)]
    for value in (frame.low, frame.high):
        y = frame.at(0, value)[1]
        marks += [
            svg.line([(LEFT, y), (RIGHT, y)], color=QUIET, width=0.4),
            svg.words(LEFT - 6, y + 3, f"{value:.3g}", anchor="end"),
        ]
    for number, (at, name) in enumerate(stages):
        x, _ = frame.at(at, frame.low)
        marks += [
            svg.line([(x, TOP), (x, BOTTOM)], color=QUIET, width=0.4),
            svg.words(min(x, RIGHT - 60) + 3, BOTTOM + 12 + 10 * (number % 2), name, size=8),
        ]
    marks.append(svg.words(RIGHT, BOTTOM + 12, f"{frame.minutes:.1f} minutes", size=8, anchor="end"))
    return svg.image(WIDTH, HEIGHT, [*marks, *parts])
