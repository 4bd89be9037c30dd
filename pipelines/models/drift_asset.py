"""The asset that watches a model for drift, `drift/<domain>/<name>`: its check, its table and its plots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from pipelines.features import plots
from pipelines.features.drift import Drift
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Check, Declaration, GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.models.drift import ModelDrift, measure
from pipelines.models.spec import ModelSpec
from pipelines.quality.plots import markdown

CHECK = "drift"


def drift_asset(spec: ModelSpec, *, automation: dg.AutomationCondition[Any] | None = None) -> dg.AssetsDefinition:
    """The asset that compares the features of the model that serves with those that it was trained on.

    Args:
        spec: The model; its `drift` says what counts as drift, and whether it blocks.
        automation: When it is materialized without a person's request; None for never.
    """

    def work(run: GovernedRun) -> Iterator[Written]:
        tables = {name: run.input(name) for name in spec.features.tables}
        found = measure(run.platform.settings, spec, tables, run.platform.now())
        if found.champion:
            run.record_input(Dataset("/".join(spec.key("models")), str(found.champion.version)))
        dataset = Dataset(run.declaration.name, found.as_of.isoformat(), spec.domain.owner)
        yield Written(dataset, _metadata(found), (check_result(found, spec),))

    declaration = Declaration(
        key=spec.key("drift"),
        kind="model",
        owner=spec.domain.owner,
        tags=spec.domain.cost.of("serving"),
        description=f"{spec.question}\n\nThe features of the model that serves: in its train window, in the newest "
        "rows of their views, and in the questions that it answered.\n\nGrain: one comparison per materialization.",
        kinds=("mlflow",),
        inputs={name: spec.features.views[place].table for place, name in enumerate(spec.features.tables)},
        deps=(spec.key("models"), *spec.online_store),
        checks=(Check(CHECK, "The model sees what it was trained on", blocking=spec.drift.blocks),),
    )
    return declare(declaration, work, automation=automation)


def check_result(found: ModelDrift, spec: ModelSpec) -> dg.AssetCheckResult:
    """The result of the check: drift fails it, as the model's limits say, and without a verdict it has not passed."""
    drifted = any(drift.drifted for drift in found.drifts)
    severity = dg.AssetCheckSeverity
    return dg.AssetCheckResult(
        check_name=CHECK,
        asset_key=dg.AssetKey(list(spec.key("drift"))),
        passed=not drifted and not any(drift.no_verdict for drift in found.drifts),
        severity=severity.ERROR if drifted and spec.drift.blocks else severity.WARN,
        description="; ".join(drift.words for drift in found.drifts),
    )


def rows(drift: Drift) -> list[dict[str, Any]]:
    """A row for each compared feature, the farthest first."""
    return [
        {
            "feature": each.feature,
            "distance": f"{each.distance:.3f}",
            "p_value": f"{each.p_value:.2g}",
            "missing_before": f"{each.reference.missing:.1%}",
            "missing_now": f"{each.now.missing:.1%}",
            "most_grown": _most_grown(each.reference.shares, each.now.shares, each.now.labels),
            "rows_now": each.now.rows,
            "drifted": drift.has_drifted(each),
        }
        for each in drift.comparisons
    ]


def plot(drift: Drift) -> bytes:
    """An SVG of the features that are farthest from their reference."""
    shown = drift.comparisons[: plots.PANELS]
    panels = [
        plots.Pair(
            title=f"{each.feature}  {each.distance:.2f}",
            reference=each.reference.shares,
            now=each.now.shares,
            labels=(each.now.labels[0], each.now.labels[-2]),
            marked=drift.has_drifted(each),
        )
        for each in shown
    ]
    more = f", {len(shown)} of {len(drift.comparisons)} features" if len(drift.comparisons) > len(shown) else ""
    return plots.pairs(panels, title=f"{drift.of.capitalize()}, the farthest first{more}")


def _metadata(found: ModelDrift) -> dict[str, Any]:
    """The number of drifted features, and for each comparison its outcome, its table and its plot."""
    compared = [drift for drift in found.drifts if drift.comparisons]
    metadata: dict[str, Any] = {
        "as_of": found.as_of.isoformat(),
        "champion": str(found.champion) if found.champion else "none",
        **{drift.of: drift.words for drift in found.drifts},
        **{f"{drift.of}: drifted features": len(drift.drifted) for drift in compared},
        **{
            f"{drift.of}: features": dg.MetadataValue.table(list(map(dg.TableRecord, rows(drift))))
            for drift in compared
        },
    }
    if compared:
        metadata["plots"] = dg.MetadataValue.md(markdown(*map(plot, compared)))
    return metadata


def _most_grown(before: tuple[float, ...], now: tuple[float, ...], labels: tuple[str, ...]) -> str:
    """The bin whose share has grown most, with both shares."""
    place = max(range(len(now)), key=lambda n: now[n] - before[n])
    return f"{labels[place]}: {before[place]:.1%} to {now[place]:.1%}"
