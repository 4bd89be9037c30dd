"""Slices of the compared rows: which there are, whether one got worse, and how far two of them lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.models.judgement import SHOWN_CONFIDENCE, Difference, Gap, Gate, Slice, SliceFigures
from pipelines.models.program import CHALLENGER, Score
from ray_jobs.core.dataset import Rows
from ray_jobs.core.errors import DatasetError
from ray_jobs.core.resampling import Drawn, Part, bounds

#: More values of a column are no slices but an id.
MOST_SLICES = 200
NULL = "null"


@dataclass(frozen=True, slots=True)
class Divided:
    """One slice: its declaration, the column's value as text, and the places of its rows."""

    declared: Slice
    value: str
    rows: NDArray[np.intp]

    def part(self, scores: Mapping[str, Mapping[str, Score]], metrics: Sequence[str]) -> Part:
        """The slice with the scores of the gate's metrics, which are shown, and its own, which are judged."""
        judged = dict.fromkeys((*self.declared.tolerance, *self.declared.largest_gap))
        named = dict.fromkeys((*metrics, *judged))
        own = {who: {name: all_rows[name].of(self.rows) for name in named} for who, all_rows in scores.items()}
        return Part(self.rows, own, frozenset(named.keys() - judged.keys()))


def divide(rows: Rows, gate: Gate) -> list[Divided]:
    """The slices of all declared columns, those of a column in the order of its values.

    Raises:
        DatasetError: if a column has more than 200 values.
    """
    slices: list[Divided] = []
    for declared in gate.slices:
        values, places = _values(rows.columns[declared.column], declared.edges)
        if len(values) > MOST_SLICES:
            raise DatasetError(
                object=f"slices of {declared.column}",
                observed=f"{len(values)} values",
                expected=f"at most {MOST_SLICES}",
                next_step="give the slice `edges`, or compute a coarser column in the training set",
            )
        slices += [Divided(declared, value, np.flatnonzero(places == place)) for place, value in enumerate(values)]
    return slices


def judge(slices: Sequence[Divided], drawn: Sequence[Drawn], gate: Gate) -> tuple[list[SliceFigures], list[Gap]]:
    """The figures of each slice, and of each gap between slices of a column.

    All comparisons of slices together are wrong with probability `1 - confidence` at most (Bonferroni).
    """
    pairs = list(zip(slices, drawn, strict=True))
    reasons = [_not_judged(each, own) for each, own in pairs]
    tests = sum(
        len(each.declared.tolerance) * (len(own.values) - 1)
        for (each, own), reason in zip(pairs, reasons, strict=True)
        if not reason
    )
    tail = (1 - gate.confidence) / max(tests, 1)
    figures = [
        SliceFigures(
            each.declared.column, each.value, len(each.rows), _finite(own.values),
            () if reason else tuple(
                difference(own, metric, name, tail)
                for name in own.values if name != CHALLENGER for metric in each.declared.tolerance
            ),
            reason,
        )
        for (each, own), reason in zip(pairs, reasons, strict=True)
    ]  # fmt: skip
    judged = [pair for pair, reason in zip(pairs, reasons, strict=True) if not reason]
    return figures, [
        gap
        for declared in gate.slices
        for metric in declared.largest_gap
        if (gap := _gap([pair for pair in judged if pair[0].declared is declared], metric, gate)) is not None
    ]


def difference(drawn: Drawn, metric: str, opponent: str, tail: float) -> Difference:
    """How the challenger's metric differs from an opponent's; each bound is wrong with probability `tail` at most."""
    draws, values = drawn.draws[CHALLENGER][metric] - drawn.draws[opponent][metric], drawn.values
    low, high = bounds(draws, tail, drawn.units)
    shown = 1 - SHOWN_CONFIDENCE
    interval = bounds(draws, shown, drawn.units) if tail > shown else None
    return Difference(metric, opponent, values[CHALLENGER][metric], values[opponent][metric], low, high, interval)


def _gap(judged: Sequence[tuple[Divided, Drawn]], metric: str, gate: Gate) -> Gap | None:
    """The widest gap of the challenger's metric; None with fewer than two slices that are judged."""
    if len(judged) < 2:
        return None
    ordered = sorted(judged, key=lambda pair: pair[1].values[CHALLENGER][metric])
    couples = list(combinations(ordered, 2))
    declared = sum(len(each.largest_gap) for each in gate.slices)
    tail = (1 - gate.confidence) / (declared * len(couples))
    low = max(
        bounds(
            higher.draws[CHALLENGER][metric] - lower.draws[CHALLENGER][metric], tail, min(higher.units, lower.units)
        )[0]
        for (_, lower), (_, higher) in couples
    )
    (lowest, least), (highest, most) = ordered[0], ordered[-1]
    distance = most.values[CHALLENGER][metric] - least.values[CHALLENGER][metric]
    return Gap(lowest.declared.column, metric, lowest.value, highest.value, distance, low)


def _not_judged(each: Divided, drawn: Drawn) -> str:
    """Why a slice is not judged; empty if it is."""
    if len(each.rows) < each.declared.minimum_rows:
        return f"{len(each.rows)} rows, fewer than {each.declared.minimum_rows}"
    if drawn.units < 2:
        return "all its rows share causes"
    named = {*each.declared.tolerance, *each.declared.largest_gap}
    lacking = sorted(
        metric for metric in named if not all(drawn.has_value(contender, metric) for contender in drawn.values)
    )
    return f"{' and '.join(lacking)} has no value" if lacking else ""


def _finite(values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The metrics that have a value."""
    return {name: {metric: v for metric, v in own.items() if np.isfinite(v)} for name, own in values.items()}


def _values(column: NDArray[Any], edges: Sequence[float]) -> tuple[list[str], NDArray[np.intp]]:
    """The values of a column as texts, and the place of each row's value among them."""
    if edges:
        cuts = [-np.inf, *edges, np.inf]
        names = [f"[{low:g}, {high:g})" for low, high in pairwise(cuts)]
        places = np.where(np.isnan(column), len(names), np.digitize(column, edges))
        present = np.unique(places)
        return [[*names, NULL][place] for place in present], np.searchsorted(present, places)
    if column.dtype.kind == "M":
        column = column.astype("datetime64[D]")
    null = np.array([value is None or value != value for value in column])
    values, inverse = np.unique(column[~null], return_inverse=True)
    places = np.full(len(column), len(values))
    places[~null] = inverse
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in values.tolist()]
    return [*names, *([NULL] if null.any() else [])], places
