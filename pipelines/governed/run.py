"""The governed run: what happens around the work of every asset, in one order.

policy decision → meter on → lineage START → the asset's own work → cost rows → lineage COMPLETE (or FAIL) → metadata
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg

from pipelines.cost import focus, metering
from pipelines.governed.declaration import Declaration, GovernedRun, Work, Written
from pipelines.governed.platform import Platform
from pipelines.lineage.events import Dataset, RunIdentity
from pipelines.machine import full_disk
from pipelines.policy import rules


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
    with metering.metering() as usage:
        try:
            classes = {str(table): platform.data_class(table) for table in declaration.inputs.values()}
            rules.require_data_class(declaration.name, tags=tags, input_classes=classes)
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
    usage: metering.Usage,
    read: list[Dataset],
    outcome: Outcome,
) -> None:
    """Writes what a run cost and how it ended, and adds both to what Dagster shows."""
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
        platform.lineage.fail(identity, read, outcome.error)
        return
    platform.lineage.complete(identity, read, [written.dataset for written in outcome.written])
    for written in outcome.written:
        written.metadata |= _run_metadata(written.dataset, read)
    if outcome.written:
        outcome.written[0].metadata |= _cost_metadata(usage, cost)


def _run_metadata(dataset: Dataset, read: list[Dataset]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"inputs": dg.MetadataValue.json({d.name: d.version for d in read})}
    if dataset.version is not None:
        metadata["version"] = dataset.version
    if dataset.rows is not None:
        metadata["dagster/row_count"] = dataset.rows
    return metadata


def _cost_metadata(usage: metering.Usage, cost: float) -> dict[str, Any]:
    return {
        "cost": cost,
        "seconds": round(usage.seconds, 3),
        "cpu_seconds": round(usage.cpu_seconds, 3),
        "gpu_seconds": round(usage.gpu_seconds, 3),
        "peak_memory_mb": round(usage.peak_memory_bytes / 2**20, 1),
        "bytes_read": usage.bytes_read,
        "bytes_written": usage.bytes_written,
    }
