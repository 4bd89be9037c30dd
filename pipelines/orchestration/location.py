"""Which domains can stand in one code location: each as Dagster resolves it, alone and beside the others."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.errors import DefinitionError, GoldpathError
from pipelines.governed.declaration import PLATFORM, PRIORITY
from pipelines.orchestration.jobs import domain_jobs
from pipelines.orchestration.members import Members
from pipelines.orchestration.new_deliveries import domain_sensors
from pipelines.orchestration.schedules import domain_schedules

if TYPE_CHECKING:
    from pipelines.orchestration.jobs import Job

#: The executor and the resource's key are those of the whole code location; nothing runs in what is resolved here.
_NO_PLATFORM = dg.ResourceDefinition.none_resource()


@dataclass(frozen=True, slots=True)
class Parts:
    """What Dagster gets of one domain."""

    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]
    jobs: Sequence[Job]
    schedules: Sequence[dg.ScheduleDefinition]
    sensors: Sequence[dg.SensorDefinition]


def parts(found: Members) -> Parts:
    """The assets of a domain, and its jobs, schedules and sensors, those that follow from the assets and its own."""
    jobs = domain_jobs(found)
    assets = [_with_priority(asset, found.domain.priority) for asset in found.assets]
    return Parts((*assets, *found.external), jobs, domain_schedules(found, jobs), domain_sensors(found, jobs))


def _with_priority(asset: dg.AssetsDefinition, priority: int) -> dg.AssetsDefinition:
    """The asset with the priority of its domain as a tag; one of its own stays."""
    if not priority:
        return asset
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(tags={PRIORITY: str(priority), **spec.tags}))


def misfits(found: Mapping[str, Members], *, taken: Collection[str] = ()) -> dict[str, GoldpathError]:
    """The error of each domain that Dagster refuses, alone or because of what it declares beside the others.

    A name that two domains give belongs to the one whose name it begins with. Domains that depend on each other in a
    circle are all refused.

    Args:
        found: The members of the domains, by name.
        taken: Names of jobs that no domain may give.
    """
    errors: dict[str, GoldpathError] = {}
    made: dict[str, Parts] = {}
    for name, members in found.items():
        try:
            made[name] = parts(members)
            _require_names(name, made[name], set(found), taken)
            _require_known_inputs(members, found)
        except GoldpathError as error:
            errors[name] = error
        except Exception as error:  # noqa: BLE001 whatever Dagster refuses of a domain stops that domain alone
            errors[name] = _refused(name, error)
    fitting = {name: each for name, each in made.items() if name not in errors}
    while circle := _circle(fitting):
        for name in sorted({key.path[1] for key in circle}):
            errors[name] = _in_a_circle(name, circle)
            del fitting[name]
    return errors | _unresolved(fitting)


def _unresolved(fitting: Mapping[str, Parts]) -> dict[str, GoldpathError]:
    """The error of each domain with which the code location does not resolve; the others resolve without it."""
    try:
        _resolve(fitting.values())
    except Exception:  # noqa: BLE001 looked for below
        errors: dict[str, GoldpathError] = {}
        rest: dict[str, Parts] = {}
        for name, each in fitting.items():
            try:
                _resolve([*rest.values(), each])
                rest[name] = each
            except Exception as error:  # noqa: BLE001 whatever Dagster refuses of a domain stops that domain alone
                errors[name] = _refused(name, error)
        return errors
    return {}


def _resolve(made: Iterable[Parts]) -> None:
    """Lets Dagster resolve everything; it raises errors of many classes."""
    each = list(made)
    definitions = dg.Definitions(
        assets=[asset for one in each for asset in one.assets],
        jobs=[job for one in each for job in one.jobs],
        schedules=[schedule for one in each for schedule in one.schedules],
        sensors=[sensor for one in each for sensor in one.sensors],
        resources={PLATFORM: _NO_PLATFORM},
    )
    dg.Definitions.validate_loadable(definitions)


def _require_names(name: str, made: Parts, domains: Collection[str], taken: Collection[str]) -> None:
    """Raises DefinitionError for a job, schedule or sensor that does not carry the domain's name, or not it alone."""
    for kind, things in (("job", made.jobs), ("schedule", made.schedules), ("sensor", made.sensors)):
        seen: set[str] = set()
        for thing in things:
            owner = max((each for each in domains if thing.name.startswith(f"{each}_")), key=len, default=None)
            observed = (
                "the platform has one of this name" if thing.name in taken
                else "the domain has two of this name" if thing.name in seen
                else f"its name does not begin with {name}_" if owner is None or not thing.name.startswith(f"{name}_")
                else f"names that begin with {owner}_ are those of the domain {owner}" if owner != name
                else ""
            )  # fmt: skip
            if observed:
                raise DefinitionError(
                    object=f"{kind} {thing.name} of the domain {name}",
                    observed=observed,
                    expected=f"a name of its own that begins with {name}_, as everything in Dagster that no asset is",
                    next_step=f"rename it in assets/{name}",
                )
            seen.add(thing.name)


def _require_known_inputs(members: Members, found: Mapping[str, Members]) -> None:
    """Raises DefinitionError for an asset that depends on one which a domain that loads does not declare."""
    declared = {spec.key for each in found.values() for spec in (*each.specs, *each.external)}
    for spec in members.specs:
        for key in (dep.asset_key for dep in spec.deps):
            if key in declared or key.path[0] == "landing" or len(key.path) < 2 or key.path[1] not in found:
                continue
            there = sorted("/".join(k.path) for k in declared if k.path[1] == key.path[1] and k.path[0] == key.path[0])
            raise DefinitionError(
                object=f"asset {spec.key.to_user_string()}",
                observed=f"it depends on {key.to_user_string()}, which no asset of the domain {key.path[1]} is",
                expected=f"an asset of that domain, such as {', '.join(there[:8]) or 'none: it has none of this zone'}",
                next_step=f"correct the input in assets/{members.domain.name}, or declare it in assets/{key.path[1]}",
            )


def _circle(fitting: Mapping[str, Parts]) -> list[dg.AssetKey]:
    """The first keys of assets that depend on each other in a circle, the first again at the end; else nothing."""
    assets = [asset for each in fitting.values() for asset in each.assets if isinstance(asset, dg.AssetsDefinition)]
    first = {key: min(asset.keys) for asset in assets for key in asset.keys}
    graph: dict[dg.AssetKey, set[dg.AssetKey]] = {}
    for asset in assets:
        inputs = {dep.asset_key for spec in asset.specs for dep in spec.deps} - set(asset.keys)
        graph[min(asset.keys)] = {first[key] for key in inputs if key in first}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _in_a_circle(name: str, circle: Sequence[dg.AssetKey]) -> DefinitionError:
    return DefinitionError(
        object=f"domain {name}",
        observed=f"its assets depend on each other in a circle: {' -> '.join(key.to_user_string() for key in circle)}",
        expected="an asset that is derived from others, which are not derived from it",
        next_step="take one of these inputs out; the domains that are not part of the circle go on",
    )


def _refused(name: str, error: Exception) -> DefinitionError:
    return DefinitionError(
        object=f"domain {name}",
        observed=f"Dagster refuses what it declares: {_first_lines(error)}",
        expected="assets, jobs, schedules and sensors that Dagster can resolve beside those of the other domains",
        next_step=f"correct assets/{name}; the other domains go on without this one",
    )


def _first_lines(error: BaseException) -> str:
    """The texts of an error and of those that caused it, without the lists that Dagster appends."""

    def texts() -> Iterator[str]:
        at: Any = error
        while at is not None:
            first = next(iter(str(at).strip().splitlines()), "no message")
            yield f"{type(at).__name__}: {first.rstrip('.')}"
            at = at.__cause__

    return "; ".join(texts())
