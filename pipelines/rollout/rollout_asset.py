"""The asset of a service's rollouts, `rollouts/<domain>/<name>`: its check, its figures and its plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from pipelines.governed.asset import declare
from pipelines.governed.declaration import Check, Declaration, GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.models.service import ServiceSpec
from pipelines.quality.plots import markdown
from pipelines.rollout import plots, report, state
from pipelines.rollout.state import State
from pipelines.settings import Settings

CHECK = "guards"


def rollout_assets(services: Iterable[ServiceSpec], assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The asset of each of a domain's services whose model declares a plan, and that one of its assets deploys."""
    served = {key for asset in assets for key in asset.keys}
    with_plan = [spec for spec in services if spec.model.rollout and dg.AssetKey(spec.model.key("serving")) in served]
    return [rollout_asset(spec) for spec in with_plan]


def rollout_asset(spec: ServiceSpec) -> dg.AssetsDefinition:
    """The asset that sees to it that the service's rollout goes on, and shows where it stands.

    A materialization moves nothing itself: it starts the program that does, unless it runs.

    Args:
        spec: The service; its model declares a plan.
    """
    model = spec.model

    def work(run: GovernedRun) -> Iterator[Written]:
        settings = run.platform.settings
        if state.active(settings, spec.name) is not None:
            spec.runtime.load_arms().watch(settings, spec)
        present = newest(settings, spec.name)
        where = f"{present.rollout} {present.status} {present.stage}" if present else "none"
        dataset = Dataset(run.declaration.name, where, run.declaration.owner)
        yield Written(dataset, metadata(settings, present), (check_result(settings, spec, present),))

    declaration = Declaration(
        key=model.key("rollouts"),
        kind="serving",
        owner=model.domain.owner,
        tags=model.domain.cost.of("serving"),
        description=f"{model.question}\n\nThe newest rollout of the service: how far a new version has come beside the "
        "one that serves, and on which evidence.\n\nGrain: one look per materialization.",
        kinds=("ray",),
        deps=(model.key("serving"),),
        checks=(
            Check(
                CHECK,
                "The newest version was not sent back, and the looks at its rollout succeed",
                blocking=False,
            ),
        ),
    )
    return declare(declaration, work)


def newest(settings: Settings, service: str) -> State | None:
    """The newest rollout of a service; None if it never had one."""
    return next(reversed(state.every(settings, service)), None)


def check_result(settings: Settings, spec: ServiceSpec, present: State | None) -> dg.AssetCheckResult:
    """The result of the check: it fails if the version was sent back or its rollout is stuck; why, and the figures."""
    back = present is not None and present.status in ("returning", "returned")
    found = report.describe(settings, present) if present else None
    rows = report.rows(found["figures"]) if found else []
    return dg.AssetCheckResult(
        check_name=CHECK,
        asset_key=dg.AssetKey(list(spec.model.key("rollouts"))),
        passed=not back and not (present and present.stuck),
        description="; ".join(report.words(found)[:3]) if found else "the service never had a rollout",
        metadata={"figures": dg.MetadataValue.table(list(map(dg.TableRecord, rows)))} if rows else {},
    )


def metadata(settings: Settings, present: State | None) -> dict[str, Any]:
    """Where a rollout stands, its figures, its steps and its plots."""
    if present is None:
        return {"status": "the service never had a rollout"}
    found = report.describe(settings, present)
    shown = {name: found[name] for name in ("plan", "status", "stage", "minutes", "started_by", "because", "rollout")}
    shown |= {
        "candidate": f"version {present.candidate['version']}",
        "serving_version": f"version {present.stable['version']}",
        "share": report.share_words(present.share) if not present.ended else "the rollout has ended",
        "steps": dg.MetadataValue.table(
            [dg.TableRecord(_step(step, present)) for step in report.steps(settings, present)]
        ),
        "plots": dg.MetadataValue.md(markdown(*plots.draw(settings, present).values())),
    }
    if found["rollback_seconds"] is not None:
        shown["rollback_seconds"] = found["rollback_seconds"]
    if rows := report.rows(found["figures"]):
        shown["figures"] = dg.MetadataValue.md(_markdown_table(rows))
    return shown


def _step(step: dict[str, Any], present: State) -> dict[str, str]:
    stage = present.plan.stages[step["stage"]].name
    return {"at": step["at"][:19], "what": step["what"], "stage": stage, "who": step["by"], "why": step["because"]}


def _markdown_table(rows: list[dict[str, str]]) -> str:
    """Rows of the same columns as a Markdown table."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    return "\n".join([line(rows[0]), line("---" for _ in rows[0]), *(line(row.values()) for row in rows)])
