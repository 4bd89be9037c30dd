"""Governed assets: `declare` makes every asset, so that each asset's work runs inside the governed run.

`declare` takes a `Declaration` and the asset's work, a function that receives the run and yields what it wrote. The
decorators for tables, models and everything else call it.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import dagster as dg

from pipelines.errors import DefinitionError, GoldpathError
from pipelines.governed import run as governed_run
from pipelines.governed.declaration import PLATFORM, PRIORITY, Check, Declaration, Kind, Work, Written
from pipelines.policy import rules
from pipelines.retrying import Backoff, is_transient
from pipelines.tables import TableId

#: How often and after how long Dagster retries an asset's step that failed with a transient error.
BACKOFF = Backoff(attempts=4, first_seconds=2.0)

#: The op of every asset that `declare` made, with the asset keys of its declaration.
_governed_keys: weakref.WeakKeyDictionary[Any, frozenset[dg.AssetKey]] = weakref.WeakKeyDictionary()


def declare(
    declaration: Declaration,
    work: Work,
    *,
    config: type[dg.Config] | None = None,
    partitions: dg.PartitionsDefinition[str] | None = None,
    automation: dg.AutomationCondition[Any] | None = None,
) -> dg.AssetsDefinition:
    """Makes the Dagster asset of a declaration.

    Args:
        declaration: What the asset is.
        work: Called with the run, and with its config if there is one; it yields a `Written` for the asset's key and
            for each of `further`, what others depend on first.
        config: The class of the run's config; None for work without config.
        partitions: The asset's partitions; a backfill covers a range of them in one run.
        automation: When the asset is materialized without a person's request; None for never.

    Raises:
        DefinitionError: for a missing owner, cost tag or description.
    """
    rules.require_tags(declaration.name, owner=declaration.owner, tags=declaration.tags)
    if not declaration.description.strip():
        raise DefinitionError(
            object=f"asset {declaration.name}",
            observed="it has no description",
            expected="business meaning and grain, which people read in the UI",
            next_step="write the function's docstring or the contract's description.purpose",
        )
    declared = (declaration, *declaration.further)
    keys = [dg.AssetKey(list(each.key)) for each in declared]
    checks = [
        dg.AssetCheckSpec(check.name, asset=keys[0], blocking=check.blocking, description=check.description)
        for check in declaration.checks
    ]
    decorate = dg.multi_asset(
        name="__".join(declaration.key),
        specs=[_spec(each, partitions, automation) for each in declared],
        check_specs=checks,
        required_resource_keys={PLATFORM},
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        pool="__".join(declaration.key),
    )
    asset = decorate(_compute_function(declaration, work, config))
    _governed_keys[asset.node_def] = frozenset(keys)
    return asset


def _compute_function(
    declaration: Declaration, work: Work, config_class: type[dg.Config] | None
) -> Callable[..., Iterator[Any]]:
    """The function that Dagster calls; its annotations tell Dagster whether to pass a config, and of which class."""
    if config_class:

        def compute(context: dg.AssetExecutionContext, config: Any) -> Iterator[Any]:
            yield from _run(declaration, work, context, config)

        compute.__annotations__.update({"context": dg.AssetExecutionContext, "config": config_class})
    else:

        def compute(context: dg.AssetExecutionContext) -> Iterator[Any]:  # type: ignore[misc]
            yield from _run(declaration, work, context, None)

        compute.__annotations__["context"] = dg.AssetExecutionContext
    return compute


def _run(
    declaration: Declaration, work: Work, context: dg.AssetExecutionContext, config: dg.Config | None
) -> Iterator[Any]:
    """Executes the governed run and yields its results to Dagster; of a failed run only its failed checks."""
    outcome = governed_run.execute(declaration, getattr(context.resources, PLATFORM), context, work, config)
    if outcome.error is not None:
        yield from (check for written in outcome.written for check in written.checks if not check.passed)
        _raise_for_dagster(outcome.error, context.retry_number + 1)
    of_several_days = context.assets_def.partitions_def is not None and len(context.partition_keys) > 1
    for written in outcome.written:
        if of_several_days:
            _name_as_the_runs(written)
        _add_large_metadata(context, written)
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey(written.dataset.name.split("/")),
            metadata=written.metadata,
            check_results=list(written.checks),
            data_version=dg.DataVersion(written.dataset.version) if written.dataset.version else None,
        )


def governed_asset(
    *,
    key: Sequence[str],
    kind: Kind,
    owner: str,
    tags: Mapping[str, str],
    kinds: Sequence[str],
    inputs: Mapping[str, str] | None = None,
    deps: Sequence[Sequence[str]] = (),
    config: type[dg.Config] | None = None,
    checks: Sequence[Check] = (),
    automation: dg.AutomationCondition[Any] | None = None,
    freshness: timedelta | None = None,
) -> Callable[[Work], dg.AssetsDefinition]:
    """A decorator for an asset that is no table: online features, a model, a deployment.

    The decorated function is the asset's work. It receives the run (and its config, if `config` is given) and yields
    one `Written` for the key. Its docstring is the asset's description.

    Args:
        key: The asset key.
        kind: What sort of asset it is, for cost records.
        owner: The team that answers for it.
        tags: The cost tags.
        kinds: The technologies that Dagster shows as icons.
        inputs: Input name to table, `zone/domain/table`; the run pins each table's version when it starts.
        deps: The keys of other assets that it depends on.
        config: The class of the run's config.
        checks: The asset's checks.
        automation: When the asset is materialized without a person's request.
        freshness: The age of its newest materialization at which Dagster calls it stale.

    Raises:
        DefinitionError: as `declare` does.
    """

    def decorate(work: Work) -> dg.AssetsDefinition:
        declaration = Declaration(
            key=tuple(key),
            kind=kind,
            owner=owner,
            tags=tags,
            description=inspect.getdoc(work) or "",
            kinds=tuple(kinds),
            inputs={name: TableId.parse(text) for name, text in (inputs or {}).items()},
            deps=tuple(tuple(dep) for dep in deps),
            checks=tuple(checks),
            freshness=freshness,
        )
        return declare(declaration, work, config=config, automation=automation)

    return decorate


def is_governed(asset: dg.AssetsDefinition) -> bool:
    """Whether `declare` made the asset, and its keys are still those of its declaration."""
    return _governed_keys.get(asset.node_def) == asset.keys


def _spec(
    declaration: Declaration,
    partitions: dg.PartitionsDefinition[str] | None,
    automation: dg.AutomationCondition[Any] | None,
) -> dg.AssetSpec:
    deps = {dg.AssetKey(table.key) for table in declaration.inputs.values()}
    deps |= {dg.AssetKey(list(dep)) for dep in declaration.deps}
    zone, domain = declaration.key[:2]
    return dg.AssetSpec(
        key=list(declaration.key),
        deps=sorted(deps),
        description=declaration.description,
        # A landing asset that depends on our own service is in that service's group: in the group of landing it would
        # close a circle in Dagster's graph of groups.
        group_name=f"{domain}_{declaration.deps[0][0] if zone == 'landing' and declaration.deps else zone}",
        owners=[f"team:{declaration.owner}"],
        tags={**declaration.tags} | ({} if declaration.priority is None else {PRIORITY: str(declaration.priority)}),
        kinds=set(declaration.kinds),
        partitions_def=partitions,
        automation_condition=automation,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=declaration.freshness)
        if declaration.freshness
        else None,
        metadata=_definition_metadata(declaration),
    )


def _definition_metadata(declaration: Declaration) -> dict[str, Any]:
    contract = declaration.contract
    if contract is None:
        return {}
    required = {rule.column for rule in contract.row_rules if rule.kind == "required"}
    columns = [
        dg.TableColumn(
            column.name,
            column.type,
            description=column.description or None,
            constraints=dg.TableColumnConstraints(nullable=column.name not in required),
            tags={"classification": contract.data_class(column.name)} | ({"masked": mask} if mask else {}),
        )
        for column in contract.columns
        for mask in [", ".join(column.mask)]
    ]
    return {
        "dagster/column_schema": dg.TableSchema(columns),
        "contract": contract.path.name,
        "contract_version": contract.version,
        "grain": contract.grain,
        "retention_days": contract.retention_seconds // 86_400,
    }


def _raise_for_dagster(error: BaseException, attempt: int) -> NoReturn:
    """Raises what Dagster understands: a retry for a transient error, a failure without stack trace for our own.

    Any other error is raised as it is.
    """
    if is_transient(error):
        seconds = BACKOFF.seconds(attempt, error)
        raise dg.RetryRequested(max_retries=BACKOFF.attempts - 1, seconds_to_wait=seconds) from error
    if isinstance(error, GoldpathError):
        notes = "\n".join(getattr(error, "__notes__", ()))
        description = "\n".join(filter(None, [str(error), notes]))
        facts = {"error": type(error).__name__, **error.facts(), **({"notes": notes} if notes else {})}
        raise dg.Failure(description=description, metadata=facts, allow_retries=False) from error
    raise error


def _name_as_the_runs(written: Written) -> None:
    """Moves the figures of a run over several partitions to the last of them, as `run_cost` for `cost`.

    Repeated for each partition, they would be read as those of the partition, and added up.
    """
    of_the_table = {name: value for name, value in written.metadata.items() if name in governed_run.OF_THE_TABLE}
    figures = {f"run_{name}": value for name, value in written.metadata.items() if name not in of_the_table}
    written.metadata, written.large_metadata = of_the_table, written.large_metadata | figures


def _add_large_metadata(context: dg.AssetExecutionContext, written: Written) -> None:
    """Adds column schema, column lineage and plots to one partition alone, and to each partition what is its own.

    Dagster repeats the metadata of a `MaterializeResult` for each partition of a range.
    """
    from pipelines.lineage.column_lineage import to_dagster, unknown_columns

    dataset = written.dataset
    metadata: dict[str, Any] = {**written.large_metadata}
    if dataset.fields:
        columns = [dg.TableColumn(f.name, f.type, description=f.description or None) for f in dataset.fields]
        metadata["dagster/column_schema"] = dg.TableSchema(columns)
    if dataset.columns is not None:
        metadata["dagster/column_lineage"] = to_dagster(dataset.columns)
        if unknown := unknown_columns(dataset.columns):  # Dagster's own view shows the known sources alone
            words = "; ".join(f"{name}: {reason}" for name, reason in unknown.items())
            context.log.warning("not all source columns of %s are known: %s", dataset.name, words)
            metadata["columns_with_unknown_sources"] = unknown
    if metadata:
        partition = context.partition_keys[-1] if context.assets_def.partitions_def else None
        context.add_asset_metadata(metadata, asset_key=dataset.name.split("/"), partition_key=partition)
    for partition_key, own in written.by_partition.items():
        context.add_asset_metadata(own, asset_key=dataset.name.split("/"), partition_key=partition_key)
