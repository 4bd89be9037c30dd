"""Whether features have drifted: how far they are from their reference, and what is far enough.

With many rows each difference is significant, and with few rows a sample is far from its own distribution. So a feature
has drifted if its distance reaches the declared limit, and chance does not explain it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pipelines.errors import DefinitionError
from pipelines.features.distributions import Comparison, Distribution, Kind, compare
from pipelines.features.profile import number, sampled

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

#: With fewer rows there is no verdict.
MINIMUM_ROWS = 100
#: The chance that a check without any drift finds some, by the chi-squared test over all features.
CHANCE = 0.01
#: About how many rows distributions are counted of.
SAMPLE = 100_000


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """What of a model counts as drift.

    Attributes:
        distance: The least Jensen-Shannon distance that is drift, from 0 to 1. A normal feature reaches 0.2 where its
            mean moves by half its standard deviation.
        window: The newest rows and predictions that count.
        blocks: Whether drift fails the check as an error.

    Raises:
        DefinitionError: for a distance that no feature reaches or each does, and a window without time.
    """

    distance: float = 0.2
    window: timedelta = timedelta(days=7)
    blocks: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.distance <= 1 or self.window <= timedelta(0):
            raise DefinitionError(
                object="limits of drift",
                observed=f"distance {self.distance}, window {self.window}",
                expected="a distance above 0 and up to 1, and a window longer than nothing",
                next_step="correct them in the model's declaration, such as DriftLimits(distance=0.2)",
            )


@dataclass(frozen=True, slots=True)
class Drift:
    """Features now against their reference.

    Attributes:
        of: What is compared, in words: `training and now`, `training and serving`.
        limits: What counts as drift.
        comparisons: One for each feature, the farthest first; empty without a verdict.
        no_verdict: Why there is none; empty if there is one.
    """

    of: str
    limits: DriftLimits
    comparisons: tuple[Comparison, ...]
    no_verdict: str = ""

    def has_drifted(self, comparison: Comparison) -> bool:
        """Whether a feature is as far as the limit, and chance does not explain it."""
        return comparison.distance >= self.limits.distance and comparison.p_value * len(self.comparisons) < CHANCE

    @property
    def drifted(self) -> list[Comparison]:
        """The features that have drifted, the farthest first."""
        return [comparison for comparison in self.comparisons if self.has_drifted(comparison)]

    @property
    def words(self) -> str:
        """The outcome in one sentence."""
        if self.no_verdict:
            return f"{self.of}: no verdict, {self.no_verdict}"
        drifted = [f"{comparison.feature} by {comparison.distance:.2f}" for comparison in self.drifted]
        features = f"{len(drifted)} of {len(self.comparisons)} features have drifted"
        return f"{self.of}: {features}" + (f": {', '.join(drifted)}" if drifted else "")


def judged(
    of: str,
    limits: DriftLimits,
    reference: Mapping[str, Distribution],
    values: Mapping[str, pa.ChunkedArray],
) -> Drift:
    """The drift of the features of a reference.

    Args:
        of: As in `Drift`.
        limits: What counts as drift.
        reference: The distribution of each feature.
        values: The values of each feature now.
    """
    found, too_few = [], []
    for feature, before in reference.items():
        now = before.again(values[feature])
        if min(before.rows, now.rows) < MINIMUM_ROWS:
            too_few.append((feature, min(before.rows, now.rows)))
        else:
            found.append(compare(feature, before, now))
    if too_few or not found:
        rows = f"{min(rows for _, rows in too_few):,} rows of {too_few[0][0]}" if too_few else "no feature"
        return Drift(of, limits, (), f"{rows}, {MINIMUM_ROWS} are needed")
    return Drift(of, limits, tuple(sorted(found, key=lambda comparison: (-comparison.distance, comparison.feature))))


def kinds(types: Mapping[str, str]) -> dict[str, Kind]:
    """The kind of each column by its SQL type, of those that are numbers, booleans or texts."""
    known: dict[str, Kind] = dict.fromkeys(("int", "bigint", "float", "double", "boolean"), "number")
    known["string"] = "text"
    return {name: known[type] for name, type in types.items() if type in known}


def values_of(rows: DataFrame, types: Mapping[str, str], keys: tuple[str, ...]) -> dict[str, pa.ChunkedArray]:
    """The values of columns, of about `SAMPLE` rows, the same in any order of rows.

    Args:
        rows: The rows.
        types: The SQL type of each wanted column that is a number, a boolean or a text.
        keys: The columns that tell rows apart.
    """
    from pyspark.sql import functions as F

    names = list(types)
    columns = [
        (F.col(name) if types[name] == "string" else number(name, types[name])).alias(f"c{place}")
        for place, name in enumerate(names)
    ]
    found = sampled(rows, keys, rows.count(), SAMPLE).select(*columns).toArrow()
    return {name: found[f"c{place}"] for place, name in enumerate(names)}
