"""Replay: judges rejected rows again, by ordinary Dagster runs over exactly the partitions that hold them.

After a contract or rows were corrected, only these partitions have to be materialized again. Consecutive days are one
run. Each run has tags with the table and the note, and each record gets a decision `replay` with the run's id.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.errors import NotFoundError, SettingsError
from pipelines.orchestration import dagster_home
from pipelines.orchestration.runs import QUIET_LOG, range_tags
from pipelines.quarantine import decisions
from pipelines.quarantine.table import Quarantine, first_names
from pipelines.tables import TableId

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


@dataclass(frozen=True, slots=True)
class RowSelection:
    """The rows to judge again; true if it selects by anything.

    Attributes:
        records: Ids of records.
        reason: All waiting rows that were rejected for this reason.
        partitions: All rows of these partitions.
        pending: All rows with a decision that is newer than their last judgement.
    """

    records: tuple[str, ...] = ()
    reason: str | None = None
    partitions: tuple[str, ...] = ()
    pending: bool = False

    def __bool__(self) -> bool:
        return bool(self.records or self.reason or self.partitions or self.pending)


def replay(
    platform: Platform,
    table: TableId,
    selection: RowSelection,
    *,
    definitions: dg.Definitions,
    note: str,
    by: str | None = None,
    instance: dg.DagsterInstance | None = None,
) -> dict[str, Any]:
    """Materializes the silver table over the partitions of the selected rows.

    Args:
        platform: The platform of the tables; the same that `definitions` uses.
        table: The silver table.
        selection: The rows to judge again. All other rows of their partitions are judged again with them.
        definitions: The code location that defines the table's asset.
        note: Why the rows are judged again; recorded with each record and as a tag of the runs.
        by: Who requests it; None for the user of this process.
        instance: The Dagster instance of the runs; None for the one in DAGSTER_HOME.

    Returns:
        `table`, `partitions`, `runs` (their ids), `records` (the number of selected rejected rows), and how many of
        these are now `clean` and how many `quarantined`.

    Raises:
        NotFoundError: if the selection matches no row, or the asset is not defined.
        SettingsError: if the selection is empty or there is no note.
        GoldpathError: the error of the asset, if its new version cannot be published.
    """
    quarantine = Quarantine.of(platform, table)
    asset = _asset(definitions, table)
    days = asset.partitions_def.get_partition_keys() if asset.partitions_def else None
    records = _selected(quarantine, selection, days)
    partitions = sorted({*records.values(), *selection.partitions})
    runs = {str(uuid.uuid4()): run_partitions for run_partitions in _ranges(partitions, days)}
    with contextlib.nullcontext(instance) if instance else dagster_home.instance(platform.settings) as run_instance:
        for run_id, run_partitions in runs.items():
            run_records = {record: partition for record, partition in records.items() if partition in run_partitions}
            decisions.record(platform.lakehouse, table, run_records, act="replay", note=note, by=by, run_id=run_id)
            tags = {"goldpath/replay": str(table), "goldpath/note": note}
            if days is not None:
                tags |= range_tags(run_partitions)
            _run(definitions, table, run_instance, run_id=run_id, tags=tags)
    places = Counter(place for _, place in Quarantine.of(platform, table).places(list(records)).values())
    return {
        "table": f"{table.domain}/{table.table}",
        "partitions": partitions,
        "runs": list(runs),
        "records": len(records),
        "clean": places["clean"],
        "quarantined": places["quarantined"],
    }


def _asset(definitions: dg.Definitions, table: TableId) -> dg.AssetsDefinition:
    """The asset that writes the table; raises NotFoundError if there is none."""
    try:
        return definitions.resolve_assets_def(dg.AssetKey(table.key))
    except dg.DagsterInvariantViolationError:
        raise NotFoundError(
            object=f"asset {table}",
            observed="the code location does not define it",
            expected="the silver asset that fills the quarantine",
            next_step="look for the table's asset in assets/",
        ) from None


def _selected(quarantine: Quarantine, selection: RowSelection, days: Sequence[str] | None) -> dict[str, str]:
    """The partition of each selected row, by record id.

    Args:
        quarantine: The quarantine of the silver table.
        selection: The rows to judge again.
        days: The partitions of the asset, in order; None for an asset without partitions.

    Raises:
        NotFoundError: if the selection matches no row, or names a partition that the asset lacks.
        SettingsError: if the selection is empty.
    """
    if not selection:
        raise SettingsError(
            object=f"replay of {quarantine.silver}",
            observed="no selection of rows",
            expected="records, a reason, partitions, or pending rows",
            next_step="give --record, --reason, --partition or --pending",
        )
    unknown = [name for name in selection.partitions if days is None or name not in set(days)]
    if unknown:
        raise NotFoundError(
            object=f"partition {first_names(unknown)} of {quarantine.silver}",
            observed="the asset has no partitions: each run replaces all rows"
            if days is None
            else "no partition of the asset",
            expected="no --partition" if days is None else f"days from {days[0]} to {days[-1]}",
            next_step="select by --record, --reason or --pending" if days is None else "correct the day",
        )
    records = {record: partition for record, (partition, _) in quarantine.places(selection.records).items()}
    if selection.pending:
        records |= quarantine.pending()
    if selection.reason:
        records |= {row["record_id"]: row["partition"] for row in quarantine.rows(reason=selection.reason)}
    for partition in selection.partitions:
        records |= quarantine.records(partition)
    if not records and not selection.partitions:
        raise NotFoundError(
            object=f"replay of {quarantine.silver}",
            observed="no row is selected: none is pending"
            if selection.pending
            else f"no waiting row was rejected for {selection.reason!r}",
            expected="rows to judge again",
            next_step=f"goldpath quarantine list {quarantine.silver.domain}/{quarantine.silver.table}",
        )
    return records


def _ranges(partitions: Sequence[str], days: Sequence[str] | None) -> Iterator[tuple[str, ...]]:
    """Groups the partitions into one tuple for each series of consecutive days; into one if `days` is None."""
    if days is None:
        yield tuple(partitions)
        return
    selected = set(partitions)
    for is_selected, group in itertools.groupby(days, key=selected.__contains__):
        if is_selected:
            yield tuple(group)


def _run(
    definitions: dg.Definitions, table: TableId, instance: dg.DagsterInstance, *, run_id: str, tags: dict[str, str]
) -> None:
    """Materializes the silver table and its quarantine in this process; raises the asset's own error if it fails."""
    key = dg.AssetKey(table.key)
    job = definitions.resolve_implicit_job_def_def_for_assets([key])
    assert job is not None
    try:
        job.execute_in_process(
            asset_selection=[key, dg.AssetKey(["quarantine", *table.key[1:]])],
            instance=instance,
            run_config=QUIET_LOG,
            run_id=run_id,
            tags=tags,
        )
    except dg.Failure as failure:
        raise failure.__cause__ or failure from None
