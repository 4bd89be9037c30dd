"""What is wrong with a feature view: what breaks its contract, and what its own past does not explain.

What the contract declares counts with the severity that it declares. What is only compared with the periods before is
a warning: the limits below are the least changes that are worth a look, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pipelines.contracts.model import Severity
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView
from pipelines.features.profile import Figures, ViewProfile, profile
from pipelines.verdict import table_rules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Kind = Literal["staleness", "future", "contract", "missingness", "range", "skew", "cardinality"]
#: A period with fewer rows is not compared, and fewer earlier periods are no past.
MINIMUM_ROWS, MINIMUM_PERIODS = 50, 3
#: By how much the share of missing values may exceed its greatest in the past.
MISSING_MORE = 0.1
#: How often as many distinct values as ever in the past there may be, for as many rows; and how many more at least.
DISTINCT_TIMES, DISTINCT_MORE = 2.0, 10
#: By how many widths of the past's range a value may lie outside of it.
RANGE_WIDTHS = 1.0
#: By how much the skewness, from -1 to 1, may leave its range in the past.
SKEW_MORE = 0.6


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect; `feature` is empty where it is of the view as a whole."""

    view: str
    feature: str
    kind: Kind
    severity: Severity
    words: str

    def __str__(self) -> str:
        return f"{self.view}.{self.feature} {self.words}" if self.feature else f"{self.view} {self.words}"


@dataclass(frozen=True, slots=True)
class ViewQuality:
    """The figures of a view, and what is wrong with them: the errors first."""

    profile: ViewProfile
    findings: tuple[Finding, ...]

    def of(self, feature: str) -> str:
        """What is wrong with one feature, in words; empty if nothing is."""
        return "; ".join(finding.words for finding in self.findings if finding.feature == feature)


def measure(view: FeatureView, rows: DataFrame, as_of: datetime, now: datetime) -> ViewQuality:
    """The quality of a view at an instant.

    Args:
        view: The view.
        rows: All rows of its table.
        as_of: The instant, UTC; the figures are of the rows up to it.
        now: The wall clock, UTC: a replay has landed rows that lie ahead of its own clock.
    """
    from pyspark.sql import functions as F

    found = profile(view, rows, as_of, now)
    known = rows.where(F.col(EVENT_TIMESTAMP) <= F.lit(found.newest_event or as_of))
    stale = freshness(view, known, as_of)
    return ViewQuality(found, tuple(sorted([*stale, *judge(found)], key=lambda finding: finding.severity)))


def judge(profile: ViewProfile) -> list[Finding]:
    """What the figures of a view show to be wrong."""
    found = [*_ahead(profile), *_stale(profile), *_broken(profile)]
    for feature, periods in profile.features.items():
        now, past = periods.get(0), [figures for n, figures in periods.items() if n and figures.rows >= MINIMUM_ROWS]
        if now is not None and now.rows >= MINIMUM_ROWS and len(past) >= MINIMUM_PERIODS:
            found += [
                Finding(profile.view.stored_name, feature, kind, "warning", words)
                for kind, words in _changes(now, past, profile.period)
            ]
    return found


def freshness(view: FeatureView, rows: DataFrame, as_of: datetime) -> Iterator[Finding]:
    """What the freshness rules of a view's contract say at an instant: the table may have aged since it was published.

    Args:
        view: The view.
        rows: The rows of its table up to the newest event.
        as_of: The instant, UTC.
    """
    rules = tuple(rule for rule in view.contract.table_rules if rule.kind == "freshness")
    contract = replace(view.contract, table_rules=rules)
    for result in table_rules.measure(rows, contract, now=as_of, previous={}):
        if not result.passed:
            words = f"breaks {result.rule.name}: {result.observed} s, {result.rule.bounds} expected"
            yield Finding(view.stored_name, "", "staleness", result.rule.severity, words)


def _ahead(profile: ViewProfile) -> Iterator[Finding]:
    """Rows from the future: ahead by more than the view's freshness, since a row may be known some time before."""
    if profile.ahead:
        number, last = profile.ahead
        words = f"has {number:,} rows more than {rounded(profile.period)} ahead of now, up to {last:%F %T} UTC"
        yield Finding(profile.view.stored_name, "", "future", "warning", words)


def _stale(profile: ViewProfile) -> Iterator[Finding]:
    if profile.age is None:
        words = f"has no row up to {profile.as_of.isoformat(timespec='seconds')}"
        yield Finding(profile.view.stored_name, "", "staleness", "warning", words)
    elif profile.age > profile.period:
        newest = "row" if profile.newest_event == profile.newest else "event"
        words = f"is stale: its newest {newest} is {rounded(profile.age)} old, its freshness {rounded(profile.period)}"
        yield Finding(profile.view.stored_name, "", "staleness", "warning", words)


def _broken(profile: ViewProfile) -> Iterator[Finding]:
    for rule, rows in profile.broken.items():
        feature = rule.column if rule.column in profile.view.fields else ""
        words = f"breaks {rule.name} in {rows:,} of {sum(profile.rows):,} rows"
        yield Finding(profile.view.stored_name, feature, "contract", rule.severity, words)


def _changes(now: Figures, past: Sequence[Figures], period: timedelta) -> Iterator[tuple[Kind, str]]:
    """What the past of a feature does not explain, by kind, in words."""
    before = f"in the {len(past)} periods of {rounded(period)} before"
    most_missing = max(figures.missing_share for figures in past)
    if now.missing_share > most_missing + MISSING_MORE:
        yield (
            "missingness",
            f"is missing in {now.missing_share:.0%} of the newest rows, at most {most_missing:.0%} {before}",
        )
    if now.distinct is not None:
        counts = [(figures.distinct or 0, figures.rows) for figures in past]
        most, growth = max(count for count, _ in counts), now.rows / max(rows for _, rows in counts)
        if now.distinct > DISTINCT_TIMES * most * max(1.0, growth) and now.distinct >= most + DISTINCT_MORE:
            yield "cardinality", f"has {now.distinct:,} distinct values, at most {most:,} {before}"
    lows = [figures.minimum for figures in past if figures.minimum is not None]
    highs = [figures.maximum for figures in past if figures.maximum is not None]
    if lows and now.minimum is not None and now.maximum is not None and max(highs) > min(lows):
        width = max(highs) - min(lows)
        if now.minimum < min(lows) - RANGE_WIDTHS * width or now.maximum > max(highs) + RANGE_WIDTHS * width:
            seen = f"{now.minimum:.6g} to {now.maximum:.6g}"
            yield "range", f"ranges from {seen}, from {min(lows):.6g} to {max(highs):.6g} {before}"
    skews = [figures.skew for figures in past if figures.skew is not None]
    if skews and now.skew is not None and not min(skews) - SKEW_MORE <= now.skew <= max(skews) + SKEW_MORE:
        yield "skew", f"has skewness {now.skew:.2f}, from {min(skews):.2f} to {max(skews):.2f} {before}"


def rounded(duration: timedelta) -> str:
    """A duration in its largest unit: `2 d`, `36 h`, `5 min`."""
    seconds = duration.total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and seconds % length == 0):
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
