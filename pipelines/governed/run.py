"""The governed run: the steps around the work of every asset, always in this order.

policy decision → meter on → lineage START → the asset's own work → cost rows → lineage COMPLETE (or FAIL) → metadata
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg

from pipelines import clock
from pipelines.cost import focus, metering
from pipelines.errors import GoldpathError, NotFoundError
from pipelines.governed.declaration import Declaration, GovernedRun, Work, Written
from pipelines.governed.platform import Platform
from pipelines.lineage.events import Dataset, RunIdentity
from pipelines.machine import full_disk, read_only
from pipelines.policy import rules
from pipelines.tables import ZONES, TableId, TableVersion

#: The metadata that describes the table; everything else is about the run.
OF_THE_TABLE = ("inputs", "version", "dagster/row_count")


@dataclass(slots=True)
class Outcome:
    """How a governed run ended.

    Attributes:
        written: What the work yielded, also if it failed later.
        error: Why the run failed; None if it succeeded.
    """

    written: list[Written]
    error: BaseException | None = None


def execute(
    declaration: Declaration,
    platform: Platform,
    context: dg.AssetExecutionContext,
    work: Work,
    config: dg.Config | None,
) -> Outcome:
    """Runs an asset's work with all steps around it.

    Errors do not propagate; they are in the result. A run that fails leaves its FAIL event and its cost rows too.

    Args:
        declaration: The asset.
        platform: What the run works with.
        context: Dagster's context of the run.
        work: The asset's own work, called with the run, and with `config` if it is not None.
        config: The run's configuration.
    """
    tags = {**declaration.tags, "owner": declaration.owner, "environment": platform.settings.profile}
    identity = RunIdentity(declaration.name, context.run.run_id, context.retry_number, tags, declaration.owner)
    outcome = Outcome([])
    inputs_read: list[Dataset] = []
    with metering.metering() as usage:
        try:
            inputs = declaration.inputs_now(platform.settings)
            for table in inputs.values():
                platform.require_loaded(declaration.name, table)
            classes = {str(table): platform.data_class(table) for table in inputs.values()}
            rules.require_data_class(declaration.name, tags=tags, input_classes=classes)
            for table in {*inputs.values(), *_own_tables(declaration)}:
                platform.lakehouse.require_whole(table)
            versions = {name: platform.lakehouse.current(table) for name, table in inputs.items()}
            if replay := clock.replay(platform.settings):
                context.log.warning(replay)
            if platform.settings.engine == "spark" and (
                platform.settings.spark_remote or platform.settings.spark_master
            ):
                usage.unmetered.add("the machines of the Spark cluster")
            run = GovernedRun(declaration, platform, context, usage, versions, inputs_read)
            for version in dict.fromkeys(versions.values()):
                run.record_input(platform.dataset(version))
            platform.lineage.start(identity, inputs_read)
            for written in work(run) if config is None else work(run, config):
                outcome.written.append(written)
                usage.bytes_written += written.dataset.bytes or 0
        except BaseException as error:  # noqa: BLE001 - raised by the caller, after cost rows and FAIL event are written
            outcome.error = _storage_error(error, platform) or error
    try:
        _record_outcome(declaration, platform, identity, usage, inputs_read, outcome)
    except Exception as error:  # noqa: BLE001 - raised by the caller, as itself or as a note of the first error
        record_error = _storage_error(error, platform) or error
        if outcome.error is None:
            outcome.error = record_error
        else:
            outcome.error.add_note(f"The cost or the FAIL event of this run could not be written: {record_error}")
    return outcome


def _storage_error(error: BaseException, platform: Platform) -> GoldpathError | None:
    """The error in words if a full disk or a folder that cannot be written caused it; None for any other."""
    return full_disk.named(error, platform.folders) or read_only.named(error, platform.settings.root)


def _own_tables(declaration: Declaration) -> set[TableId]:
    """The tables that a run writes: its own, and the quarantine of a silver table."""
    if declaration.key[0] not in ZONES:
        return set()
    own = TableId.parse("/".join(declaration.key))
    return {own, TableId("quarantine", own.domain, own.table)} if own.zone == "silver" else {own}


def _record_outcome(
    declaration: Declaration,
    platform: Platform,
    identity: RunIdentity,
    usage: metering.Usage,
    inputs_read: list[Dataset],
    outcome: Outcome,
) -> None:
    """Writes the run's cost rows and its COMPLETE or FAIL event, and adds both to the metadata that Dagster shows."""
    cost = focus.charge(
        platform.lakehouse,
        platform.prices,
        asset=declaration.name,
        run_id=identity.dagster_run_id,
        status="FAILED" if outcome.error else "SUCCEEDED",
        usage=usage,
        tags=identity.tags,
        service=f"goldpath {declaration.kind}",
    )
    if outcome.error is not None:
        platform.lineage.fail(identity, inputs_read, outcome.error)
        return
    platform.lineage.complete(identity, inputs_read, [written.dataset for written in outcome.written])
    for written in outcome.written:
        written.metadata |= _run_metadata(written.dataset, inputs_read, _rows(platform, written.dataset))
    for written in outcome.written:
        if written.dataset.name == declaration.name:
            written.metadata |= _cost_metadata(usage, cost)


def _rows(platform: Platform, dataset: Dataset) -> int | None:
    """The rows of a table, also if the run added none; of another dataset the rows that were written."""
    try:
        return platform.lakehouse.snapshot(TableVersion.parse(f"{dataset.name}@{dataset.version}")).rows
    except NotFoundError:
        return dataset.rows


def _run_metadata(dataset: Dataset, inputs_read: list[Dataset], rows: int | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"inputs": dg.MetadataValue.json({d.name: d.version for d in inputs_read})}
    if dataset.version is not None:
        metadata["version"] = dataset.version
    if rows is not None:
        metadata["dagster/row_count"] = rows
    return metadata


def _cost_metadata(usage: metering.Usage, cost: float) -> dict[str, Any]:
    return {
        "cost": cost,
        "cost_does_not_include": ", ".join(sorted(usage.unmetered)) or "nothing: all was metered",
        "seconds": round(usage.seconds, 3),
        "cpu_seconds": round(usage.cpu_seconds, 3),
        "gpu_seconds": round(usage.gpu_seconds, 3),
        "peak_memory_mb": round(usage.peak_memory_bytes / 2**20, 1),
        "bytes_read": usage.bytes_read,
        "bytes_written": usage.bytes_written,
    }
