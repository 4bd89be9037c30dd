"""How the quality of feature views is shown in Dagster: the check of an online store, its table and its plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from pipelines.features import plots
from pipelines.features.profile import PERIODS, Figures
from pipelines.features.quality import ViewQuality, rounded
from pipelines.governed.declaration import Check
from pipelines.quality.plots import markdown

CHECK = Check("quality", "The feature views keep their contracts, and are as their own past lets expect", blocking=True)
NO_FIGURES = Figures(rows=0, missing=0, minimum=None, maximum=None, distinct=None, newest=None)


def check_result(qualities: Sequence[ViewQuality]) -> dg.AssetCheckResult:
    """The result of the check: a broken contract blocks what comes after the store, all else is a warning."""
    findings = [finding for quality in qualities for finding in quality.findings]
    is_error = any(finding.severity == "error" for finding in findings)
    features = sum(len(quality.profile.features) for quality in qualities)
    nothing = f"{features} features of {len(qualities)} views: no finding"
    columns = ("view", "feature", "kind", "severity", "words")
    records = [dg.TableRecord({name: getattr(finding, name) for name in columns}) for finding in findings]
    return dg.AssetCheckResult(
        check_name=CHECK.name,
        passed=not findings,
        severity=dg.AssetCheckSeverity.ERROR if is_error or not findings else dg.AssetCheckSeverity.WARN,
        description="; ".join(map(str, findings)) or nothing,
        metadata={"findings": dg.MetadataValue.table(records)} if records else {},
    )


def figures(qualities: Sequence[ViewQuality]) -> dict[str, Any]:
    """Metadata of the asset: the figures of each feature in the newest period, and the plot over all periods."""
    records = [dg.TableRecord(record) for quality in qualities for record in rows(quality)]
    return {
        "feature_quality": dg.MetadataValue.table(records),
        "feature_plot": dg.MetadataValue.md(markdown(plot(qualities))),
    }


def rows(quality: ViewQuality) -> list[dict[str, Any]]:
    """A row for each feature: its figures in the newest period, and what is wrong."""
    profile = quality.profile
    return [
        {
            "view": profile.view.stored_name,
            "feature": feature,
            "rows": now.rows,
            "missing": f"{now.missing_share:.1%}",
            "minimum": _number(now.minimum),
            "median": _number(now.quantiles[2] if now.quantiles else None),
            "maximum": _number(now.maximum),
            "skew": "-" if now.skew is None else f"{now.skew:.2f}",
            "distinct": "-" if now.distinct is None else f"{now.distinct:,}",
            "age": _age(now.newest, profile.as_of),
            "finding": quality.of(feature) or "-",
        }
        for feature, periods in profile.features.items()
        for now in [periods.get(0, NO_FIGURES)]
    ]


def plot(qualities: Sequence[ViewQuality]) -> bytes:
    """An SVG of up to `plots.PANELS` features over the periods, those with a finding first."""
    panels = [
        plots.Band(
            title=f"{quality.profile.view.stored_name}.{feature}",
            low=_over_time(periods, lambda figures: figures.quantiles[0] if figures.quantiles else None),
            middle=_over_time(periods, lambda figures: figures.quantiles[2] if figures.quantiles else figures.distinct),
            high=_over_time(periods, lambda figures: figures.quantiles[-1] if figures.quantiles else None),
            missing=[periods[n].missing_share if n in periods else 0.0 for n in reversed(range(PERIODS))],
            marked=bool(quality.of(feature)),
        )
        for quality in qualities
        for feature, periods in quality.profile.features.items()
    ]
    shown = sorted(panels, key=lambda panel: not panel.marked)[: plots.PANELS]
    more = f", {len(shown)} of {len(panels)} features" if len(panels) > len(shown) else ""
    lengths = " or ".join(dict.fromkeys(rounded(quality.profile.period) for quality in qualities))
    return plots.bands(shown, title=f"Features over {PERIODS} periods of {lengths}{more}")


def _over_time(periods: Any, value: Any) -> list[float]:
    """A figure of each period, the oldest first; NaN where there is none."""
    found = [value(periods[n]) if n in periods else None for n in reversed(range(PERIODS))]
    return [math.nan if figure is None else float(figure) for figure in found]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _age(newest: datetime | None, as_of: datetime) -> str:
    return "-" if newest is None else rounded(as_of - newest)
