"""How the freshness of an online store is shown in Dagster: its figures by view, and a plot of the last fillings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import dagster as dg

from feature_repo.freshness import measure
from feature_repo.freshness_log import Measurement, log, summary
from feature_repo.state import DomainStore
from pipelines.features import plots
from pipelines.features.declaration import FeatureService, stored_views
from pipelines.governed.declaration import GovernedRun
from pipelines.quality.plots import markdown

#: How many of the last measurements the plot shows.
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """Metadata of the asset: figures, which Dagster draws over time itself, and the plot."""

    metadata: dict[str, Any] = field(default_factory=dict)
    plot: dict[str, Any] = field(default_factory=dict)


def of_filling(run: GovernedRun, place: DomainStore, services: Sequence[FeatureService]) -> Figures:
    """Measures the filling that has just ended; without figures where it made no delivery readable."""
    views = stored_views(services)
    measured = measure(
        run.platform, place, views, {v.table.source_name: run.versions[v.table.source_name] for v in views}
    )
    whole = summary(measured)
    if not whole.count:
        return Figures()
    limits = {view.stored_name: view.contract.freshness_seconds for view in views}
    table = dg.MetadataValue.table([_record(each, limits[each.view]) for each in measured if each.count])
    seconds = {"freshness_p50_seconds": whole.p50, "freshness_p99_seconds": whole.p99}
    return Figures({"freshness": table, **seconds}, {"freshness_plot": dg.MetadataValue.md(_plot(log(place)))})


def _record(measured: Measurement, limit_seconds: int) -> dg.TableRecord:
    own = summary([measured])
    return dg.TableRecord(
        {
            "view": measured.view,
            "deliveries": own.count,
            "p50_seconds": own.p50,
            "p99_seconds": own.p99,
            "worst_seconds": own.worst,
            "limit_seconds": limit_seconds,
        }
    )


def _plot(measurements: Sequence[Measurement]) -> str:
    """The p50 and p99 of each way over time, as Markdown."""
    lines: dict[str, list[tuple[datetime, float]]] = {}
    for measured in [each for each in measurements if each.count][-SHOWN:]:
        own = summary([measured])
        for name, value in (("p50", own.p50), ("p99", own.p99)):
            lines.setdefault(f"{measured.way} {name}", []).append((datetime.fromisoformat(measured.at), value or 0.0))
    return markdown(plots.seconds_over_time(lines, title="From durable to readable online"))
