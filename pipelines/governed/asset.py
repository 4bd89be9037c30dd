"""Governed assets: `declare` is the only way to make an asset, and it surrounds the asset's work with the governed run.

It takes what the asset is (`Declaration`) and its work, a function of the run that yields what it wrote. The decorators
for tables, models and everything else are built on it.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError, GoldpathError
from pipelines.governed import run as governed_run
from pipelines.governed.declaration import PLATFORM, Check, Declaration, Kind, Work, Written
from pipelines.policy import rules
from pipelines.retrying import Backoff, is_transient
from pipelines.tables import TableId

#: How Dagster retries a run that failed transiently, in a step of its own.
BACKOFF = Backoff(attempts=4, first_seconds=2.0)

#: The op of every asset that `declare` made, with the keys that it was declared under.
_governed: weakref.WeakKeyDictionary[Any, frozenset[dg.AssetKey]] = weakref.WeakKeyDictionary()


def declare(
    declaration: Declaration,
    work: Work,
    *,
    config: type[dg.Config] | None = None,
    partitions: dg.PartitionsDefinition[str] | None = None,
    automation: dg.AutomationCondition[Any] | None = None,
) -> dg.AssetsDefinition:
    """Makes the Dagster asset. `work(run, config)` yields a `Written` for the asset's key and each of `also`.

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
    keys = [dg.AssetKey(list(key)) for key in (declaration.key, *declaration.also)]
    specs = [_spec(declaration, key, partitions, automation) for key in keys]
    check = declaration.check
    checks = [
        dg.AssetCheckSpec(check.name, asset=keys[0], blocking=check.blocking, description=check.description)
    ] if check else []  # fmt: skip

    def run_governed(context: dg.AssetExecutionContext, settings: dg.Config | None) -> Iterator[Any]:
        outcome = governed_run.execute(declaration, getattr(context.resources, PLATFORM), context, work, settings)
        if outcome.error is not None:
            yield from (written.check for written in outcome.written if written.check and not written.check.passed)
            _reraise(outcome.error, context.retry_number + 1)
        for written in outcome.written:
            _attach_lineage(context, written)
            yield dg.MaterializeResult(
                asset_key=dg.AssetKey(written.dataset.name.split("/")),
                metadata=written.metadata,
                check_results=[written.check] if written.check else [],
                data_version=dg.DataVersion(written.dataset.version) if written.dataset.version else None,
            )

    decorate = dg.multi_asset(
        name="__".join(declaration.key),
        specs=specs,
        check_specs=checks,
        required_resource_keys={PLATFORM},
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        pool=declaration.name.replace("/", "_"),
    )
    if config:

        def compute(context: dg.AssetExecutionContext, config: Any) -> Iterator[Any]:
            yield from run_governed(context, config)

        compute.__annotations__.update({"context": dg.AssetExecutionContext, "config": config})
    else:

        def compute(context: dg.AssetExecutionContext) -> Iterator[Any]:  # type: ignore[misc]
            yield from run_governed(context, None)

        compute.__annotations__["context"] = dg.AssetExecutionContext
    asset = decorate(compute)
    _governed[asset.node_def] = frozenset(keys)
    return asset


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
    check: Check | None = None,
    automation: dg.AutomationCondition[Any] | None = None,
    freshness: timedelta | None = None,
) -> Callable[[Work], dg.AssetsDefinition]:
    """An asset that is no table: features online, a model, a deployment.

    The decorated function gets the run (and its config) and yields one `Written` for the key; its docstring is the
    description. `inputs` are tables, pinned to the version of the run's start; `deps` are other assets' keys.
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
            check=check,
            freshness=freshness,
        )
        return declare(declaration, work, config=config, automation=automation)

    return decorate


def is_governed(asset: dg.AssetsDefinition) -> bool:
    """Whether `declare` made the asset, under the keys that it has now."""
    return _governed.get(asset.node_def) == asset.keys


def _spec(
    declaration: Declaration,
    key: dg.AssetKey,
    partitions: dg.PartitionsDefinition[str] | None,
    automation: dg.AutomationCondition[Any] | None,
) -> dg.AssetSpec:
    deps = {dg.AssetKey(table.key) for table in declaration.inputs.values()}
    deps |= {dg.AssetKey(list(dep)) for dep in declaration.deps}
    zone = key.path[0]
    return dg.AssetSpec(
        key=key,
        deps=sorted(deps),
        description=declaration.description if zone == declaration.key[0] else _quarantine_words(declaration),
        # What our own service feeds stands beside it, or the zones of the graph would run in a circle.
        group_name=declaration.deps[0][0] if zone == "landing" and declaration.deps else zone,
        owners=[f"team:{declaration.owner}"],
        tags={**declaration.tags},
        kinds=set(declaration.kinds) if zone == declaration.key[0] else {"deltalake"},
        partitions_def=partitions,
        automation_condition=automation,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=declaration.freshness)
        if declaration.freshness and zone != "quarantine"
        else None,
        metadata=_definition_metadata(declaration) if zone == declaration.key[0] else {},
    )


def _quarantine_words(declaration: Declaration) -> str:
    return (
        f"Rows of {declaration.name} that broke a rule of its contract, as they arrived, each with its reasons.\n\n"
        "Grain: one row per rejected source row."
    )


def _definition_metadata(declaration: Declaration) -> dict[str, Any]:
    contract = declaration.contract
    if contract is None:
        return {}
    columns = [
        dg.TableColumn(
            column.name,
            column.type,
            description=column.description or None,
            constraints=dg.TableColumnConstraints(nullable=column.name not in _required(contract)),
            tags={"classification": column.classification},
        )
        for column in contract.columns
    ]
    return {
        "dagster/column_schema": dg.TableSchema(columns),
        "contract": contract.path.name,
        "contract_version": contract.version,
        "grain": contract.grain,
        "retention_days": contract.retention_seconds // 86_400,
    }


def _required(contract: Contract) -> set[str]:
    return {rule.column for rule in contract.row_rules if rule.kind == "required"}


def _reraise(error: BaseException, attempt: int) -> NoReturn:
    """Transient errors are tried again by Dagster; Goldpath's own are shown without a stack of the platform's code."""
    if is_transient(error):
        wait = BACKOFF.seconds(attempt, error)
        raise dg.RetryRequested(max_retries=BACKOFF.attempts - 1, seconds_to_wait=wait) from error
    if isinstance(error, GoldpathError):
        words = "\n".join([str(error), *getattr(error, "__notes__", ())])
        raise dg.Failure(description=words, allow_retries=False) from error
    raise error


def _attach_lineage(context: dg.AssetExecutionContext, written: Written) -> None:
    """Column schema, lineage and plots, once per run: Dagster repeats other metadata for each partition of a range."""
    from pipelines.lineage.column_lineage import to_dagster

    dataset = written.dataset
    metadata: dict[str, Any] = {**written.once}
    if dataset.fields:
        columns = [dg.TableColumn(f.name, f.type, description=f.description or None) for f in dataset.fields]
        metadata["dagster/column_schema"] = dg.TableSchema(columns)
    if dataset.columns is not None:
        metadata["dagster/column_lineage"] = to_dagster(dataset.columns)
    if metadata:
        last = context.partition_keys[-1] if context.assets_def.partitions_def else None
        context.add_asset_metadata(metadata, asset_key=dataset.name.split("/"), partition_key=last)
