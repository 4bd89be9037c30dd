"""Two versions of a feature view side by side: what their tables hold, value by value and in distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Distributions are compared by at most so many rows of each version, the same in each comparison.
SAMPLE = 50_000
_NUMBERS = ("int", "bigint", "float", "double")


@dataclass(frozen=True, slots=True)
class FeatureComparison:
    """One feature in two versions; a figure is None where a version lacks the feature, or has no row to tell it from.

    Attributes:
        feature: Its name.
        equal: The share of rows of the same entity and instant that have the same value, null as null.
        missing: The share of nulls in each version.
        distance: Between the distributions of the values, from 0 to 1: of numbers the Kolmogorov-Smirnov statistic, of
            others half the sum of the differences of their shares (total variation).
    """

    feature: str
    equal: float | None
    missing: tuple[float | None, float | None]
    distance: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions of a view.

    Attributes:
        versions: Their numbers.
        rows: The rows of each.
        entities: The entities of each.
        common: The rows of the first whose entity and instant the second has, too.
        features: The features of both.
    """

    versions: tuple[int, int]
    rows: tuple[int, int]
    entities: tuple[int, int]
    common: int
    features: tuple[FeatureComparison, ...]


def compare(views: tuple[FeatureView, FeatureView], tables: tuple[DataFrame, DataFrame]) -> Comparison:
    """Compares two versions of a view.

    Args:
        views: The versions.
        tables: The rows of each.
    """
    from pyspark.sql import functions as F

    keys = [*views[0].keys, EVENT_TIMESTAMP]
    names = list(dict.fromkeys(field for view in views for field in view.fields))
    in_both = [name for name in names if all(name in view.fields for view in views)]
    counts = [
        table.agg(F.count(F.lit(1)), F.count_distinct(*(F.col(key) for key in views[0].keys))).collect()[0]
        for table in tables
    ]
    sides = [
        table.select(*keys, *(F.col(name).alias(f"{name}_{side}") for name in in_both))
        for side, table in enumerate(tables)
    ]
    same = sides[0].join(sides[1], keys).agg(
        F.count(F.lit(1)),
        *(F.count(F.when(F.col(f"{name}_0").eqNullSafe(F.col(f"{name}_1")), 1)) for name in in_both),
    )  # fmt: skip
    common, *equal = same.collect()[0]
    shares = {name: number / common if common else None for name, number in zip(in_both, equal, strict=True)}
    samples = [_sample(view, table, keys) for view, table in zip(views, tables, strict=True)]
    features = [_feature(name, shares.get(name), samples, views) for name in names]
    (one, first), (other, second) = counts
    versions = (views[0].version, views[1].version)
    return Comparison(versions, (one, other), (first, second), common, tuple(features))


def _sample(view: FeatureView, table: DataFrame, keys: Sequence[str]) -> dict[str, list[Any]]:
    """The values of at most SAMPLE rows, by feature."""
    from pyspark.sql import functions as F

    rows = table.orderBy(F.xxhash64(*keys)).limit(SAMPLE).select(*view.fields)
    return rows.toArrow().to_pydict()


def _feature(
    name: str,
    equal: float | None,
    samples: Sequence[Mapping[str, list[Any]]],
    views: tuple[FeatureView, FeatureView],
) -> FeatureComparison:
    known = [[value for value in sample.get(name, []) if value is not None] for sample in samples]
    missing = [
        1 - len(values) / len(sample[name]) if sample.get(name) else None
        for values, sample in zip(known, samples, strict=True)
    ]
    distance = None
    if all(known):
        is_number = views[0].contract.column(name).type in _NUMBERS
        distance = _kolmogorov_smirnov(*known) if is_number else _total_variation(*known)
    return FeatureComparison(name, equal, (missing[0], missing[1]), distance)


def _kolmogorov_smirnov(one: list[float], other: list[float]) -> float:
    from scipy import stats

    return float(stats.ks_2samp(one, other, method="asymp").statistic)


def _total_variation(one: list[Any], other: list[Any]) -> float:
    first, second = Counter(one), Counter(other)
    return sum(abs(first[value] / len(one) - second[value] / len(other)) for value in {*first, *second}) / 2
