"""The governed run: what happens around every asset, in one place and in one order.

policy decision → meter on → lineage START → the asset's own work → cost row → lineage COMPLETE (or FAIL) → metadata

`declare` is the only way to make an asset. It is told what the asset is (`Declaration`) and how to do its work (a
function of the run that yields what it wrote); the decorators for tables, models and the rest are built on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.cost import focus
from pipelines.errors import DefinitionError, GoldpathError
from pipelines.lineage.events import Dataset, RunIdentity
from pipelines.machine import full_disk
from pipelines.policy import rules
from pipelines.retrying import Backoff, is_transient
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.governed.platform import Platform

PLATFORM = "platform"
#: How Dagster tries a run again that failed transiently, in a step of its own.
BACKOFF = Backoff(attempts=4, first_seconds=2.0)
#: A run with this tag and the value `true` derives its tables anew though nothing that they are derived from changed.
RECOMPUTE = "goldpath/recompute"
Kind = Literal["landing", "bronze", "silver", "gold", "features", "training", "model", "serving", "ops"]

#: Every asset that went through `declare`, by key: the door that `definitions` checks.
_declared: dict[dg.AssetKey, Any] = {}


@dataclass(frozen=True, slots=True)
class Check:
    """The one asset check of an asset; a blocking one stops what depends on it in the same run."""

    name: str
    description: str
    blocking: bool


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is known about an asset before it runs."""

    key: tuple[str, ...]
    kind: Kind
    owner: str
    tags: Mapping[str, str]
    description: str
    kinds: tuple[str, ...]
    inputs: Mapping[str, TableId] = field(default_factory=dict)
    deps: tuple[tuple[str, ...], ...] = ()
    contract: Contract | None = None
    check: Check | None = None
    also: tuple[tuple[str, ...], ...] = ()
    freshness: timedelta | None = None

    @property
    def name(self) -> str:
        return "/".join(self.key)


@dataclass(slots=True)
class Written:
    """What an asset's work left behind: one dataset, with what Dagster is to show about it.

    `once` is metadata that is too large to be repeated for each partition of a run, such as a plot.
    """

    dataset: Dataset
    metadata: dict[str, Any] = field(default_factory=dict)
    check: dg.AssetCheckResult | None = None
    once: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class GovernedRun:
    """One run of one asset, as its work sees it."""

    declaration: Declaration
    platform: Platform
    context: dg.AssetExecutionContext
    usage: focus.Usage
    versions: dict[str, TableVersion]
    read: list[Dataset]

    @property
    def run_id(self) -> str:
        return self.context.run.run_id

    @property
    def partitions(self) -> tuple[str, ...] | None:
        """The intervals that this run covers; None for an asset without partitions."""
        return tuple(self.context.partition_keys) if self.context.assets_def.partitions_def else None

    @property
    def recomputes(self) -> bool:
        """Whether the run was asked, by its tag, to derive tables anew though nothing changed."""
        return self.context.run.tags.get(RECOMPUTE) == "true"

    def input(self, name: str) -> DataFrame:
        """An input table, as of the version that this run pinned when it began."""
        return self.platform.lakehouse.read(self.versions[name])

    def reads(self, dataset: Dataset) -> None:
        """Notes an input that is no pinned table: landed files, a model."""
        self.read.append(dataset)
        self.usage.bytes_read += dataset.bytes or 0


Work = Callable[..., Iterator[Written]]


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
        DefinitionError: for a missing owner, cost tag or description, or a key that is taken.
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
        outcome = execute(declaration, getattr(context.resources, PLATFORM), context, work, settings)
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
    for key in keys:
        if key in _declared:
            raise DefinitionError(
                object=f"asset {key.to_user_string()}",
                observed="it is declared twice",
                expected="one declaration for each key",
                next_step="rename one of them",
            )
        _declared[key] = asset.node_def
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
    """Whether the asset was made by `declare`."""
    return all(_declared.get(key) is asset.node_def for key in asset.keys)


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


@dataclass(slots=True)
class Outcome:
    """How a governed run ended: what it wrote, or why it did not."""

    written: list[Written]
    error: BaseException | None = None


def execute(
    declaration: Declaration,
    platform: Platform,
    context: dg.AssetExecutionContext,
    work: Work,
    settings: dg.Config | None,
) -> Outcome:
    """Runs an asset's work inside its frame; a run that fails leaves its FAIL event and its cost as well."""
    tags = {**declaration.tags, "owner": declaration.owner, "environment": platform.settings.profile}
    identity = RunIdentity(declaration.name, context.run.run_id, context.retry_number, tags, declaration.owner)
    outcome = Outcome([])
    read: list[Dataset] = []
    with focus.metering() as usage:
        try:
            classes = {str(table): platform.data_class(table) for table in declaration.inputs.values()}
            rules.decide(declaration.name, tags=tags, input_classes=classes)
            versions = {name: platform.lakehouse.current(table) for name, table in declaration.inputs.items()}
            run = GovernedRun(declaration, platform, context, usage, versions, read)
            for version in dict.fromkeys(versions.values()):
                run.reads(platform.dataset(version))
            platform.lineage.start(identity, read)
            for written in work(run) if settings is None else work(run, settings):
                outcome.written.append(written)
                usage.bytes_written += written.dataset.bytes or 0
        except BaseException as error:  # noqa: BLE001 - raised again, once its cost and its FAIL event are written
            outcome.error = full_disk.named(error, platform.folders) or error
    try:
        _account(declaration, platform, identity, usage, read, outcome)
    except Exception as unaccounted:  # noqa: BLE001 - raised, unless an error came before, which has to be seen
        unaccounted = full_disk.named(unaccounted, platform.folders) or unaccounted
        if outcome.error is None:
            outcome.error = unaccounted
        else:
            outcome.error.add_note(f"Its cost or its FAIL event could not be written: {unaccounted}")
    return outcome


def _account(
    declaration: Declaration,
    platform: Platform,
    identity: RunIdentity,
    usage: focus.Usage,
    read: list[Dataset],
    outcome: Outcome,
) -> None:
    """Writes what a run cost and how it ended, and adds both to what Dagster shows."""
    cost = platform.charge(declaration, identity, usage, "FAILED" if outcome.error else "SUCCEEDED")
    if outcome.error is not None:
        platform.lineage.fail(identity, read, outcome.error)
        return
    platform.lineage.complete(identity, read, [written.dataset for written in outcome.written])
    for written in outcome.written:
        written.metadata |= _run_metadata(written.dataset, read)
    if outcome.written:
        outcome.written[0].metadata |= _cost_metadata(usage, cost)


def _reraise(error: BaseException, attempt: int) -> NoReturn:
    """Transient errors are tried again by Dagster; Goldpath's own are shown without a stack of the platform's code."""
    if is_transient(error):
        wait = BACKOFF.seconds(attempt, error)
        raise dg.RetryRequested(max_retries=BACKOFF.attempts - 1, seconds_to_wait=wait) from error
    if isinstance(error, GoldpathError):
        words = "\n".join([str(error), *getattr(error, "__notes__", ())])
        raise dg.Failure(description=words, allow_retries=False) from error
    raise error


def _run_metadata(dataset: Dataset, read: list[Dataset]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"inputs": dg.MetadataValue.json({d.name: d.version for d in read})}
    if dataset.version is not None:
        metadata["version"] = dataset.version
    if dataset.rows is not None:
        metadata["dagster/row_count"] = dataset.rows
    return metadata


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


def _cost_metadata(usage: focus.Usage, cost: float) -> dict[str, Any]:
    return {
        "cost": cost,
        "seconds": round(usage.seconds, 3),
        "cpu_seconds": round(usage.cpu_seconds, 3),
        "gpu_seconds": round(usage.gpu_seconds, 3),
        "peak_memory_mb": round(usage.peak_memory_bytes / 2**20, 1),
        "bytes_read": usage.bytes_read,
        "bytes_written": usage.bytes_written,
    }
