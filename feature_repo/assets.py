"""What domains declare their features with: the asset of a training set, and that of the online store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from feature_repo import freshness_figures, parity_check, view_assets
from feature_repo.filling import AT_ONCE, materialize
from feature_repo.history import historical
from feature_repo.parity import compare
from feature_repo.state import DomainStore
from pipelines import clock
from pipelines.contracts.domain import Domain
from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError
from pipelines.features import quality, quality_check, versions
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureService, require_one_meaning, stored_views
from pipelines.features.on_demand import with_features
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Declaration, GovernedRun, InputChoice, Written
from pipelines.lineage.events import Dataset
from pipelines.medallion.decorators import gold_asset
from pipelines.orchestration.automation import when_inputs_are_good
from pipelines.settings import Settings
from pipelines.tables import RECORD_ID, TableId

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class OnlineConfig(dg.Config):
    """The instant up to which features are known."""

    as_of: str = ""
    """ISO 8601 with its offset; empty takes the platform's clock."""


def online_key(domain: str) -> tuple[str, str, str]:
    """The key of the asset that fills a domain's online store."""
    return ("features", domain, "online")


def online_asset(
    domain: Domain,
    services: Sequence[FeatureService],
    *,
    freshness: timedelta = timedelta(days=2),
) -> dg.AssetsDefinition:
    """The online store of a domain: for each entity of its services' views, the features as they are known now.

    A run moves it to the platform's clock or to the instant of its config, and leaves other domains' stores alone. It
    runs by itself when its tables have new versions that are good. Its checks block what comes after, such as a
    deployment, where the store does not answer what the as-of join gives, or its views break their contracts.

    Args:
        domain: The domain.
        services: All of its feature services.
        freshness: The age of its newest materialization at which Dagster calls it stale.

    Raises:
        DefinitionError: without services, for one of another domain or two with one name, and where a name stands for
            two views or a key has two types.
    """
    key = online_key(domain.name)
    names = [service.name for service in services]
    foreign = [service.full_name for service in services if service.domain != domain.name]
    if not services or foreign or len(set(names)) < len(names):
        raise DefinitionError(
            object=f"asset {'/'.join(key)}",
            observed=f"services of other domains: {', '.join(foreign)}" if foreign else f"services: {names}",
            expected=f"the feature services of {domain.name}, each with a name of its own",
            next_step=f"correct the call of online_asset in assets/{domain.name}",
        )
    require_one_meaning(f"asset {'/'.join(key)}", [view for service in services for view in service.views])
    tables = {name: table for service in services for name, table in service.tables.items()}

    def work(run: GovernedRun, config: OnlineConfig) -> Iterator[Written]:
        from pipelines.definitions import moved_views  # it imports the domain that calls this

        now = run.platform.now()
        as_of = clock.known_at(config.as_of, now=now, of="config as_of") if config.as_of else now
        place = DomainStore(run.platform.settings, domain.name)
        frames = {name: run.input(name) for name in tables}
        moved = materialize(place, services, frames, as_of=as_of, anew=run.recomputes)
        fresh = freshness_figures.of_filling(run, place, services)
        with place.writing():
            parity = compare(place, services, frames, pushed=moved_views(domain.name))
        views = stored_views(services)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:  # the engine plans each question on one core
            wall_clock = datetime.now(UTC)
            qualities = list(
                threads.map(
                    lambda view: quality.measure(view, frames[view.table.source_name], moved.as_of, wall_clock), views
                )
            )
        dataset = Dataset("/".join(key), moved.as_of.isoformat(), domain.owner, rows=sum(moved.rows.values()))
        metadata = {
            "as_of": moved.as_of.isoformat(),
            "rows_by_view": dg.MetadataValue.json(dict(moved.rows)),
            "rebuilt": moved.rebuilt,
            **parity_check.figures(parity),
            **quality_check.figures(qualities),
            **fresh.metadata,
        }
        checks = (parity_check.check_result(parity, "/".join(key)), quality_check.check_result(qualities))
        for view in views:
            yield view_assets.written(domain.name, view, moved, parity)
        yield Written(dataset, metadata, checks, fresh.plot)

    keys = ", ".join(dict.fromkeys(name for service in services for name in service.keys))
    further = tuple(view_assets.declaration(domain, view, freshness) for view in stored_views(services))
    declaration = Declaration(
        key=key,
        kind="features",
        owner=domain.owner,
        tags=domain.cost.of("features"),
        description=f"The online store of {', '.join(names)}: for each {keys} the features as they are known now.\n\n"
        "A run moves it to the platform's clock or to the instant of its config.\n\n"
        "Grain: one row per entity and feature view.",
        kinds=("feast",),
        checks=(parity_check.CHECK, quality_check.CHECK),
        inputs={name: TableId.parse(table) for name, table in tables.items()},
        deps=tuple(view.key for view in further),
        further=further,
        freshness=freshness,
    )
    return declare(declaration, work, config=OnlineConfig, automation=when_inputs_are_good())


def training_set_asset(
    contract: Contract,
    service: FeatureService,
    *,
    inputs: Mapping[str, str],
    automation: dg.AutomationCondition[Any] | None = None,
) -> Callable[[Callable[..., DataFrame]], dg.AssetsDefinition]:
    """A decorator for a gold table of labelled rows with the features of a service.

    The decorated function returns the spine: one row per example with its label, the service's keys and
    `event_timestamp`, the instant at which the question is asked. Its docstring is the asset's description. The table
    has the columns of the contract, which are the spine's and the service's features, named `view__feature`.

    Args:
        contract: The contract of the training set.
        service: The features.
        inputs: Parameter name of the function to table, `zone/domain/table`.
        automation: When it is materialized without a person's request; None for never.

    Raises:
        DefinitionError: if a column of the contract is named after a view, and no feature of it or of another type.
    """
    _require_features(contract, service)
    choice = _current_versions(service)
    columns = [column.name for column in contract.columns]

    def decorate(spine_of: Callable[..., DataFrame]) -> dg.AssetsDefinition:
        def transform(**tables: DataFrame) -> DataFrame:
            read = service.over(tables)
            rows = historical(read, spine_of(**{name: tables[name] for name in inputs}), tables)
            rows = with_features(service.on_demand, rows)
            return rows.select(*columns, *([RECORD_ID] if RECORD_ID in rows.columns else []))

        transform.__doc__ = spine_of.__doc__
        every_input = {**inputs, **service.tables}
        return gold_asset(contract, inputs=every_input, automation=automation, choice=choice)(transform)

    return decorate


def _current_versions(service: FeatureService) -> InputChoice | None:
    """Leaves out the tables of the versions that are not read now; None where each view has one version."""
    if all(len(declared) == 1 for declared in service.versions.values()):
        return None
    sources = {view.table.source_name for view in service.views if len(service.versions[view.name]) > 1}

    def left_out(settings: Settings) -> set[str]:
        return sources - service.at(versions.current(settings, service)).tables.keys()

    return InputChoice(frozenset(sources), left_out)


def _require_features(contract: Contract, service: FeatureService) -> None:
    """Refuses a column that is named after a view of the service and is not a feature of it, or has another type."""
    features = {f"{view.name}__{EVENT_TIMESTAMP}": "timestamp" for view in service.views} | {
        full_name: view.contract.column(field).type
        for view in service.views
        for field, full_name in zip(view.fields, view.full_names, strict=True)
        if full_name in service.full_names
    }
    features |= service.computed
    names = {named.name for named in (*service.views, *service.on_demand)}
    for column in contract.columns:
        if column.name.partition("__")[0] in names and features.get(column.name) != column.type:
            feature = f"the feature is {features[column.name]}" if column.name in features else "no such feature"
            raise DefinitionError(
                object=f"training set {contract.table}",
                observed=f"column {column.name} {column.type}, and {feature}",
                expected=f"a feature of {service.full_name} as view__feature, with its type, which each version of "
                "the view has, or an on-demand one as name__output",
                next_step=f"correct the column in {contract.path}; its views have {', '.join(sorted(features))}",
            )
