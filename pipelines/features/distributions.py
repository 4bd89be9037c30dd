"""Distributions of features in bins that are small enough to be kept with a model, and the distance of two of them.

A missing value (null or NaN) has a bin of its own. Numbers lie between the deciles of the reference; a value that is
more than one decile has a narrow bin around it, so a constant and a flag of 0 and 1 are told from what lies beside
them. Texts are counted by the most frequent values of the reference; a new value is one of the others.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Kind = Literal["number", "text"]
#: How many texts have a bin of their own.
CATEGORIES = 20
#: A text of fewer rows has no bin, so that no reference holds the names or addresses of single people.
MINIMUM_TEXTS = 10
_DECILES = tuple(n / 10 for n in range(1, 10))
#: How far below a value its bin begins, relative to the greatest decile: engines may round computed values differently.
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Distribution:
    """The counts of values in bins.

    Attributes:
        kind: Of the values.
        bins: Of numbers the inner edges in rising order, a bin without its upper edge; of texts the values with a bin.
        counts: For each bin, then of the texts for all others, then for missing values.
    """

    kind: Kind
    bins: tuple[Any, ...]
    counts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """The number of values, missing ones among them."""
        return sum(self.counts)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each count; all 0 without rows."""
        return tuple(count / (self.rows or 1) for count in self.counts)

    @property
    def missing(self) -> float:
        """The share of missing values."""
        return self.shares[-1]

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin holds, in words."""
        if self.kind == "text":
            return (*map(str, self.bins), "others", "missing")
        if not self.bins:
            return ("any", "missing")
        scale = max(map(abs, self.bins))
        names = [
            f"= {(low + high) / 2:.4g}" if high - low < 3 * _SAME * scale else f"{low:.4g} to {high:.4g}"
            for low, high in itertools.pairwise(self.bins)
        ]
        return (f"< {self.bins[0]:.4g}", *names, f"from {self.bins[-1]:.4g}", "missing")

    def again(self, values: pa.ChunkedArray) -> Distribution:
        """Other values in the same bins."""
        return Distribution(self.kind, self.bins, _counts(self.kind, self.bins, values))

    def as_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {"kind": self.kind, "bins": list(self.bins), "counts": list(self.counts)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Distribution:
        """As `as_json` gave it."""
        return cls(saved["kind"], tuple(saved["bins"]), tuple(saved["counts"]))


def distribution(kind: Kind, values: pa.ChunkedArray) -> Distribution:
    """The distribution of values, in bins that follow from them.

    Args:
        kind: Of the values.
        values: Floating-point numbers or texts; null or NaN where one is missing.
    """
    bins = _most_frequent(values) if kind == "text" else _edges(_numbers(values))
    return Distribution(kind, bins, _counts(kind, bins, values))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two distributions over the same bins.

    Attributes:
        feature: Its name.
        reference: What it was.
        now: What it is.
        distance: The Jensen-Shannon distance of their shares (base 2): 0 for the same, 1 for no common bin.
        p_value: Of Pearson's chi-squared test that both are samples of one distribution.
    """

    feature: str
    reference: Distribution
    now: Distribution
    distance: float
    p_value: float


def compare(feature: str, reference: Distribution, now: Distribution) -> Comparison:
    """The distance of two distributions with the same bins, of which both have rows."""
    import numpy as np
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import chi2_contingency

    counts = np.array([reference.counts, now.counts])
    counts = counts[:, counts.any(axis=0)]
    distance = float(np.nan_to_num(jensenshannon(counts[0], counts[1], base=2)))
    p_value = float(chi2_contingency(counts).pvalue) if counts.shape[1] > 1 else 1.0
    return Comparison(feature, reference, now, distance, p_value)


def _numbers(values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Numbers as floating-point ones, NaN where one is missing."""
    import numpy as np

    return values.to_numpy().astype(np.float64)


def _texts(values: pa.ChunkedArray) -> Counter[str | None]:
    """How often each text is there."""
    return Counter({each["values"]: each["counts"] for each in values.value_counts().to_pylist()})


def _edges(numbers: np.ndarray[Any, Any]) -> tuple[float, ...]:
    import numpy as np

    known = numbers[~np.isnan(numbers)]
    if not known.size:
        return ()
    deciles = Counter(np.quantile(known, _DECILES, method="inverted_cdf").tolist())
    finite = [abs(value) for value in deciles if math.isfinite(value)]
    width = _SAME * (max(finite, default=0.0) or 1.0)
    edges = {value - width for value in deciles} | {value + width for value, times in deciles.items() if times > 1}
    return tuple(sorted(edges))


def _most_frequent(values: pa.ChunkedArray) -> tuple[str, ...]:
    counts = [(count, text) for text, count in _texts(values).items() if text is not None and count >= MINIMUM_TEXTS]
    return tuple(text for _, text in sorted(counts, key=lambda pair: (-pair[0], pair[1]))[:CATEGORIES])


def _counts(kind: Kind, bins: tuple[Any, ...], values: pa.ChunkedArray) -> tuple[int, ...]:
    import numpy as np

    if kind == "text":
        texts = _texts(values)
        own = [texts[text] for text in bins]
        return (*own, texts.total() - sum(own) - texts[None], texts[None])
    numbers = _numbers(values)
    known = numbers[~np.isnan(numbers)]
    places = np.searchsorted(np.array(bins, dtype=float), known, side="right")
    return (*np.bincount(places, minlength=len(bins) + 1).tolist(), len(numbers) - len(known))
