"""The jobs of a domain, derived from its assets: one for each stage from landed files to serving, and one for all.

A job is named `<domain>_<stage>`. A stage for which a domain has no asset has no job.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from pipelines.orchestration.members import Members

if TYPE_CHECKING:
    # Dagster exports no name for what `define_asset_job` returns.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    Job: TypeAlias = dg.JobDefinition | UnresolvedAssetJobDefinition

TABLE_ZONES = ("bronze", "silver", "quarantine", "gold")
Keys = frozenset[dg.AssetKey]
NONE: Keys = frozenset()
REFRESH = (
    "Writes new files to tables and features; fine-tunes the champions that have a recipe for it, and serves them."
)


@dataclass(frozen=True, slots=True)
class Stages:
    """The keys of a domain's assets by the stage that materializes them.

    Attributes:
        sources: What extracts from sources, and lands it.
        tables: Bronze, silver, quarantine and gold, without training sets, events and outcomes.
        reference: Those of the tables without days up to silver, if others have days.
        events: The tables of pushed sources up to silver.
        outcomes: What comes of the answers of the domain's services.
        training_sets: The tables that models are trained on.
        features: The online store.
        models: What trains and registers models.
        serving: What serves them.
        rollouts: What looks after the rollouts of services.
    """

    sources: Keys
    tables: Keys
    reference: Keys
    events: Keys
    outcomes: Keys
    training_sets: Keys
    features: Keys
    models: Keys
    serving: Keys
    rollouts: Keys


def stages(found: Members) -> Stages:
    """The stages of a domain's assets."""
    parents = {spec.key: {dep.asset_key for dep in spec.deps} for spec in found.specs}
    zones: dict[str, set[dg.AssetKey]] = {}
    for key in parents:
        zones.setdefault(key.path[0], set()).add(key)

    def of(*names: str) -> Keys:
        return frozenset(key for name in names for key in zones.get(name, ()))

    outcomes = _downstream(of("serving"), parents) - of("serving", "rollouts")
    pushed = {source.bronze.table.table for source in found.pushed}
    events = frozenset(key for key in of("bronze", "silver", "quarantine") if key.path[2] in pushed)
    training_sets = frozenset(dg.AssetKey(spec.training_set.table.key) for spec in found.models) & of("gold")
    tables = of(*TABLE_ZONES) - outcomes - events - training_sets
    daily = {dg.AssetKey(table.key) for table in found.daily}
    undated = frozenset(key for key in tables if key.path[0] != "gold") - daily
    return Stages(
        sources=of("landing") - outcomes,
        tables=tables,
        reference=undated if daily & tables else frozenset(),
        events=events,
        outcomes=outcomes,
        training_sets=training_sets,
        features=of("features"),
        models=of("training", "models"),
        serving=of("serving"),
        rollouts=of("rollouts"),
    )


def _downstream(roots: Keys, parents: dict[dg.AssetKey, set[dg.AssetKey]]) -> Keys:
    found: set[dg.AssetKey] = set(roots)
    while more := {key for key, above in parents.items() if above & found} - found:
        found |= more
    return frozenset(found)


def fine_tuning(found: Members) -> dict[str, Any]:
    """The run configuration under which the domain's models are fine-tuned where they have a recipe for it."""
    tuned = ["__".join(spec.key("training")) for spec in found.models if "fine_tune" in spec.recipes]
    return {"ops": {op: {"config": {"mode": "FINE_TUNE"}} for op in tuned}} if tuned else {}


def searching(found: Members) -> dict[str, Any]:
    """The run configuration under which the models that declare a search are trained with what it finds."""
    searched = ["__".join(spec.key("training")) for spec in found.models if spec.search]
    return {"ops": {op: {"config": {"mode": "SEARCH"}} for op in searched}} if searched else {}


def domain_jobs(found: Members) -> list[Job]:
    """The jobs that follow from a domain's assets, and those that it declares itself."""
    at = stages(found)
    name = found.domain.name
    ingest = at.sources | at.tables
    models = at.models | at.serving
    tuned = fine_tuning(found)
    searched = [spec for spec in found.models if spec.search]
    configurations = {"refresh": tuned, "search": searching(found)}
    further = at.training_sets | at.features
    modelled = bool(further | models)
    rows: list[tuple[str, Keys, str]] = [
        ("ingest", ingest, "Writes what sources have to tables: bronze, silver and gold."),
        ("reference", at.reference, "Writes the newest deliveries of the tables without days to bronze and silver."),
        ("events", at.events, "Writes pushed events that have landed to tables; online features have them already."),
        ("features", further, "Writes the training sets, and updates the online store to the platform's clock."),
        ("online", at.features, "Updates the online store to the platform's clock."),
        ("train", at.models, "Trains from scratch, evaluates and registers; the gate decides on the champion."),
        (
            "search",
            frozenset(dg.AssetKey(spec.key(kind)) for spec in searched for kind in ("training", "models")) & at.models,
            "Searches for hyperparameters, trains from scratch with the best, evaluates and registers.",
        ),
        ("deploy", at.serving, "Serves the champion of each model."),
        ("rollouts", at.rollouts, "Sees to it that rollouts which are under way go on, and records where they stand."),
        ("whole", ingest | further | models if modelled else NONE, "Everything from landed files to a served model."),
        ("refresh", ingest | further | (models if tuned else NONE) if modelled else NONE, REFRESH),
        ("outcomes", at.outcomes, "Writes logged predictions to tables and joins them with the outcomes known by now."),
    ]
    return [
        *(
            dg.define_asset_job(
                f"{name}_{stage}", selection=_selection(keys), description=description,
                config=configurations.get(stage) or None,
                tags={"goldpath/domain": name},
            )
            for stage, keys, description in rows
            if keys
        ),
        *found.jobs,
    ]  # fmt: skip


def _selection(keys: Collection[dg.AssetKey]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*sorted(keys))
