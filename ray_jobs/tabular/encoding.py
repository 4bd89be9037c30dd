"""Encoding raw columns as numbers: fitted once on training rows; a row's encoding doesn't depend on other rows.

A numeric value becomes three inputs: its standard score, clipped to ±5; its rank among the training rows, scaled to
the same spread; and 1 if it is missing (the other two are 0 then). The score keeps distances; the rank resolves the
middle of a distribution with heavy tails. A category becomes an id; 0 stands for unknown, missing and rare ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ModelError
from ray_jobs.core.dataset import Columns
from ray_jobs.tabular.recipe import Difference, Recipe

CLIP = 5.0
KNOTS = 101
#: A uniform distribution on [-sqrt(3), sqrt(3)] has variance 1, like the standard score.
RANK_SPREAD = 3.0**0.5


@dataclass(frozen=True, slots=True)
class Encoded:
    """`categories` [rows, categorical columns] int64; `numbers` [rows, 3 x numeric inputs] float32."""

    categories: NDArray[np.int64]
    numbers: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True)
class NumericScale:
    """One numeric input's distribution in the training rows: moments, and ranks (0 to 1) at rising knots."""

    name: str
    mean: float
    deviation: float
    knots: tuple[float, ...]
    ranks: tuple[float, ...]

    @classmethod
    def fit(cls, name: str, values: NDArray[np.float64]) -> NumericScale:
        present = values[~np.isnan(values)]
        if not len(present):
            return cls(name, 0.0, 1.0, (0.0,), (0.5,))
        levels = np.linspace(0.0, 1.0, KNOTS)
        knots, place = np.unique(np.quantile(present, levels), return_inverse=True)
        ranks = np.bincount(place, weights=levels) / np.bincount(place)
        deviation = float(present.std())
        return cls(name, float(present.mean()), deviation or 1.0, tuple(knots.tolist()), tuple(ranks.tolist()))

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> NumericScale:
        knots, ranks = tuple(state["knots"]), tuple(state["ranks"])
        return cls(state["name"], state["mean"], state["deviation"], knots, ranks)


class Encoder:
    """Encodes raw columns, the same way in training and in prediction.

    Args:
        vocabularies: Per categorical column its known values; a value's id is its position plus 1.
        scales: One per numeric input, those of differences last.
        differences: Inputs computed from two columns.
    """

    def __init__(
        self,
        vocabularies: Mapping[str, Sequence[str]],
        scales: Sequence[NumericScale],
        differences: Sequence[Difference],
    ) -> None:
        self.vocabularies = {name: tuple(values) for name, values in vocabularies.items()}
        self.scales = tuple(scales)
        self.differences = tuple(differences)
        self._ids = {name: {v: i for i, v in enumerate(vs, start=1)} for name, vs in self.vocabularies.items()}
        self._numeric = tuple(scale.name for scale in self.scales[: len(self.scales) - len(self.differences)])
        self._mean = np.array([[scale.mean] for scale in self.scales])
        self._deviation = np.array([[scale.deviation] for scale in self.scales])
        self._curves = [(np.array(scale.knots), np.array(scale.ranks)) for scale in self.scales]

    @classmethod
    def fit(cls, columns: Columns, recipe: Recipe) -> Encoder:
        """Learns vocabularies, moments and ranks from training rows."""
        vocabularies = {}
        for name in recipe.categorical:
            counts = Counter(_values(columns, name))
            counts.pop(None, None)
            vocabularies[name] = sorted(v for v, count in counts.items() if count >= recipe.minimum_category_count)
        values = _numeric_values(columns, recipe.numeric, recipe.differences)
        names = (*recipe.numeric, *(difference.name for difference in recipe.differences))
        scales = [NumericScale.fit(name, row) for name, row in zip(names, values, strict=True)]
        return cls(vocabularies, scales, recipe.differences)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Per categorical column the number of ids, 0 included."""
        return tuple(len(values) + 1 for values in self.vocabularies.values())

    @property
    def width(self) -> int:
        """Columns of `Encoded.numbers`."""
        return 3 * len(self.scales)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The raw columns that `encode` reads, each once."""
        of_differences = (c for d in self.differences for c in (d.minuend, d.subtrahend))
        return tuple(dict.fromkeys((*self.vocabularies, *self._numeric, *of_differences)))

    def encode(self, columns: Columns) -> Encoded:
        """Encodes rows; no row's result depends on another row.

        Args:
            columns: The rows; NaN, too, is a missing value. Columns that are no input are ignored.

        Raises:
            ModelError: if an input column is absent, not numeric, infinite, or of another length than the rest.
        """
        rows = self._row_count(columns)
        values = _numeric_values(columns, self._numeric, self.differences, rows)
        missing = np.isnan(values)
        score = np.clip((values - self._mean) / self._deviation, -CLIP, CLIP)
        rank = np.stack([np.interp(row, *curve) for row, curve in zip(values, self._curves, strict=True)])
        rank = RANK_SPREAD * (2.0 * rank - 1.0)
        score[missing] = 0.0
        rank[missing] = 0.0
        numbers = np.concatenate([score, rank, missing], dtype=np.float32).T
        categories = np.empty((rows, len(self._ids)), dtype=np.int64)
        for place, (name, ids) in enumerate(self._ids.items()):
            categories[:, place] = [ids.get(value, 0) for value in _values(columns, name, rows)]
        return Encoded(categories, np.ascontiguousarray(numbers))

    def to_json(self) -> dict[str, Any]:
        """The complete state; `from_json` gets the same numbers from its JSON text."""
        return {
            "vocabularies": {name: list(values) for name, values in self.vocabularies.items()},
            "scales": [asdict(scale) for scale in self.scales],
            "differences": [asdict(difference) for difference in self.differences],
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Encoder:
        scales = [NumericScale.from_json(scale) for scale in state["scales"]]
        return cls(state["vocabularies"], scales, [Difference(**difference) for difference in state["differences"]])

    def _row_count(self, columns: Columns) -> int:
        absent = [name for name in self.inputs if name not in columns]
        lengths = {len(column) for name in self.inputs if (column := columns.get(name)) is not None}
        if absent or len(lengths) != 1:
            raise ModelError(
                object="rows to encode",
                observed=f"no column {', '.join(absent)}" if absent else f"columns of lengths {sorted(lengths)}",
                expected=f"columns of one length for {', '.join(self.inputs)}",
                next_step="give every column; None for an unknown one",
            )
        return lengths.pop()


def _values(columns: Columns, name: str, rows: int = 0) -> Sequence[Any]:
    """A text column as plain Python values."""
    column = columns[name]
    if column is None:
        return [None] * rows
    return column.tolist() if isinstance(column, np.ndarray) else column


def _numeric_values(
    columns: Columns, names: Sequence[str], differences: Sequence[Difference], rows: int = 0
) -> NDArray[np.float64]:
    """[inputs, rows]; missing values are NaN."""
    values = [_numbers(columns, name, rows) for name in names]
    for difference in differences:
        gap = _numbers(columns, difference.minuend, rows) - _numbers(columns, difference.subtrahend, rows)
        values.append(np.clip(gap, difference.minimum, difference.maximum))
    return np.stack(values)


def _numbers(columns: Columns, name: str, rows: int) -> NDArray[np.float64]:
    column = columns[name]
    if column is None:
        return np.full(rows, np.nan)
    try:
        values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _not_numeric(name, str(error)) from None
    if values.ndim != 1 or np.isinf(values).any():
        raise _not_numeric(name, "an infinite value" if values.ndim == 1 else f"shape {values.shape}")
    return values


def _not_numeric(name: str, observed: str) -> ModelError:
    return ModelError(
        object=f"input column {name}",
        observed=observed,
        expected="finite numbers, with None or NaN where one is missing",
        next_step="correct the feature; the model replaces no invalid value",
    )
