"""What the modules of a domain declare: assets, pushed sources, models, a demo; its own jobs, schedules and sensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import dagster as dg

from pipelines.contracts.domain import Domain
from pipelines.errors import DefinitionError
from pipelines.features.declaration import FeatureService
from pipelines.governed.asset import is_governed
from pipelines.medallion.push_source import PushSource
from pipelines.models.service import ServiceSpec
from pipelines.models.spec import ModelSpec
from pipelines.orchestration.demo_story import Demo, LanguageDemo
from pipelines.rollout.rollout_asset import rollout_assets
from pipelines.tables import TableId


@dataclass(frozen=True, slots=True)
class Members:
    """What one domain declares.

    Attributes:
        domain: The domain.
        assets: Its governed assets, and those of the rollouts of its services, which follow from them.
        external: What it depends on and other systems write, such as landed files.
        pushed: Its pushed sources.
        services: Its feature services.
        models: Its models.
        model_services: The services of its models.
        demo: What `goldpath demo` with its name runs; None if it declares none.
        jobs: Jobs that it declares beside those that follow from its assets.
        schedules: Schedules that it declares likewise.
        sensors: Sensors that it declares likewise.
    """

    domain: Domain
    assets: tuple[dg.AssetsDefinition, ...]
    external: tuple[dg.AssetSpec, ...] = ()
    pushed: tuple[PushSource, ...] = ()
    services: tuple[FeatureService, ...] = ()
    models: tuple[ModelSpec, ...] = ()
    model_services: tuple[ServiceSpec, ...] = ()
    demo: Demo | LanguageDemo | None = None
    jobs: tuple[Any, ...] = ()
    schedules: tuple[dg.ScheduleDefinition, ...] = ()
    sensors: tuple[dg.SensorDefinition, ...] = ()

    @property
    def specs(self) -> Iterator[dg.AssetSpec]:
        """The specs of its governed assets."""
        return (spec for asset in self.assets for spec in asset.specs)

    @property
    def daily(self) -> dict[TableId, dg.PartitionsDefinition[str]]:
        """The partitions of its tables by day."""
        return {
            TableId.parse("/".join(spec.key.path)): spec.partitions_def for spec in self.specs if spec.partitions_def
        }


def members(name: str, modules: Iterable[ModuleType]) -> Members:
    """What the modules of the folder `name` declare.

    Raises:
        DefinitionError: if they declare no domain of this name, or more than one, or more than one demo; for an asset
            of another domain, one that was not made by one of Goldpath's decorators, two assets with one key, or tables
            by day with other days than the domain's first.
    """
    modules = list(modules)
    assets, external = _declared_once(name, modules)
    model_services = tuple(spec for spec in _unique(modules, ServiceSpec) if spec.model.domain.name == name)
    found = Members(
        domain=_domain(name, list(_unique(modules, Domain))),
        assets=(*assets, *rollout_assets(model_services, assets)),
        external=external,
        pushed=tuple(_unique(modules, PushSource)),
        services=tuple(
            service for service in _unique(modules, FeatureService) if service.domain == name and service.views
        ),
        models=tuple(spec for spec in _unique(modules, ModelSpec) if spec.domain.name == name),
        model_services=model_services,
        demo=one_demo(name, [demo for demo in _unique(modules, (Demo, LanguageDemo)) if demo.domain.name == name]),
        jobs=tuple(_unique(modules, (dg.JobDefinition, type(dg.define_asset_job("none"))))),
        schedules=tuple(_unique(modules, dg.ScheduleDefinition)),
        sensors=tuple(_unique(modules, dg.SensorDefinition)),
    )
    _require_one_set_of_days(found)
    return found


def _unique(modules: Iterable[ModuleType], kind: Any) -> Iterator[Any]:
    """The variables of a type in all modules, each object once."""
    objects = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, kind)}
    return iter(objects.values())


def _domain(name: str, domains: list[Domain]) -> Domain:
    own = [domain for domain in domains if domain.name == name]
    if len(own) != 1:
        raise DefinitionError(
            object=f"domain {name}",
            observed=f"{len(own)} declarations of it" if own else "no module of its folder declares it",
            expected=f"one, as in `{name} = Domain.at(__file__, owner=..., cost=CostTags(...))`",
            next_step=f"write it to assets/{name}/domain.py; `goldpath new domain {name}` writes the first form",
        )
    return own[0]


def one_demo(name: str, demos: Sequence[Demo | LanguageDemo]) -> Demo | LanguageDemo | None:
    """The demo of a domain, or None; raises DefinitionError if it declares more than one."""
    if len(demos) > 1:
        raise DefinitionError(
            object=f"domain {name}",
            observed=f"{len(demos)} demos: {', '.join(demo.title for demo in demos)}",
            expected="at most one, which `goldpath demo` with the domain's name runs",
            next_step=f"leave one of them in assets/{name}",
        )
    return demos[0] if demos else None


def _declared_once(
    name: str, modules: Iterable[ModuleType]
) -> tuple[tuple[dg.AssetsDefinition, ...], tuple[dg.AssetSpec, ...]]:
    """The assets, and the specs of external assets; raises DefinitionError for one that may not stand in the domain."""
    declared: dict[dg.AssetKey, dg.AssetsDefinition | dg.AssetSpec] = {}
    for module in modules:
        for variable, asset in _assets_of(module):
            place = f"({module.__name__}.{variable})"
            if isinstance(asset, dg.AssetsDefinition) and not is_governed(asset):
                keys = ", ".join(key.to_user_string() for key in asset.keys)
                raise DefinitionError(
                    object=f"asset {keys} {place}",
                    observed="it was not made by one of Goldpath's decorators",
                    expected="bronze_asset, silver_asset, gold_asset or governed_asset",
                    next_step="replace @dg.asset with the decorator that fits",
                )
            for key in asset.keys if isinstance(asset, dg.AssetsDefinition) else [asset.key]:
                if declared.setdefault(key, asset) is not asset:
                    raise DefinitionError(
                        object=f"asset {key.to_user_string()} {place}",
                        observed="it is declared twice",
                        expected="one declaration for each key",
                        next_step="rename one of them",
                    )
                if len(key.path) < 3 or key.path[1] != name:
                    raise DefinitionError(
                        object=f"asset {key.to_user_string()} {place}",
                        observed=f"its key does not name the domain {name}, in whose folder it is declared",
                        expected=f"a key such as {key.path[0]}/{name}/{key.path[-1]}",
                        next_step="correct the key, or move the declaration to the domain's folder",
                    )
    each = {id(asset): asset for asset in declared.values()}.values()
    return (
        tuple(asset for asset in each if isinstance(asset, dg.AssetsDefinition)),
        tuple(asset for asset in each if isinstance(asset, dg.AssetSpec)),
    )


def _assets_of(module: ModuleType) -> Iterator[tuple[str, dg.AssetsDefinition | dg.AssetSpec]]:
    """The assets of a module by its variables, those in lists too."""
    for variable, value in vars(module).items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dg.AssetsDefinition | dg.AssetSpec):
                yield variable, each


def _require_one_set_of_days(found: Members) -> None:
    """Tables by day of one domain have the same days, since one run covers them."""
    by_day = [(table, days) for table, days in found.daily.items()]
    for table, days in by_day[1:]:
        first, expected = by_day[0]
        if days != expected:
            raise DefinitionError(
                object=f"table {table}",
                observed=f"its days are {days}",
                expected=f"those of {first}, {expected}: one run of the domain covers all its tables by day",
                next_step="give both the domain's `partitions`, or put one of them into a domain of its own",
            )
