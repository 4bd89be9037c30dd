"""Replay: judging rejected rows again, over exactly the partitions that hold them, as ordinary Dagster runs.

After a contract was mended or rows were corrected, only what is concerned has to be materialized. Adjoining days are
one run; each run carries tags that say what and why, and each record concerned gets a `replay` act with the run's id.
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
from pipelines.orchestration.runs import QUIET_LOG, range_tags
from pipelines.quarantine import decisions
from pipelines.quarantine.table import Quarantine, some
from pipelines.tables import TableId

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


@dataclass(frozen=True, slots=True)
class Which:
    """Which rows to judge again: these records, waiting rows with a reason, whole partitions, and what is pending."""

    records: tuple[str, ...] = ()
    reason: str | None = None
    partitions: tuple[str, ...] = ()
    pending: bool = False

    def __bool__(self) -> bool:
        return bool(self.records or self.reason or self.partitions or self.pending)


def replay(
    platform: Platform,
    table: TableId,
    which: Which,
    *,
    definitions: dg.Definitions,
    note: str,
    by: str | None = None,
    instance: dg.DagsterInstance | None = None,
) -> dict[str, Any]:
    """Materializes the silver table over the partitions of the chosen rows, and says what became of them.

    Args:
        platform: Where the tables are; the one that `definitions` work with.
        table: The silver table.
        which: The rows to judge again; with them everything else in their partitions.
        definitions: The code location that defines the table's asset.
        note: Why; also a tag of the runs.
        by: Who asks; None is the user of this process.
        instance: Where the runs are kept; None is the one of DAGSTER_HOME.

    Returns:
        `table`, `partitions`, `runs` (ids), and how many of the `records` that were rejected and chosen are `clean` now
        and how many `quarantined`.

    Raises:
        NotFoundError: if the choice matches no row, or the asset is not defined.
        SettingsError: without a choice or a note.
        GoldpathError: as the asset raises it, when it may not be published.
    """
    here = Quarantine.of(platform, table)
    asset = _asset(definitions, table)
    days = asset.partitions_def.get_partition_keys() if asset.partitions_def else None
    records = _chosen(here, which, days)
    partitions = sorted({*records.values(), *which.partitions})
    runs = {str(uuid.uuid4()): covered for covered in _ranges(partitions, days)}
    with contextlib.nullcontext(instance) if instance else dg.DagsterInstance.get() as kept:
        for run_id, covered in runs.items():
            within = {name: at for name, at in records.items() if at in covered}
            decisions.record(platform.lakehouse, table, within, act="replay", note=note, by=by, run_id=run_id)
            tags = {"goldpath/replay": str(table), "goldpath/note": note}
            if days is not None:
                tags |= range_tags(covered)
            _run(definitions, table, kept, run_id=run_id, tags=tags)
    after = Counter(place for _, place in Quarantine.of(platform, table).places(list(records)).values())
    return {
        "table": f"{table.domain}/{table.table}",
        "partitions": partitions,
        "runs": list(runs),
        "records": len(records),
        "clean": after["clean"],
        "quarantined": after["quarantined"],
    }


def _asset(definitions: dg.Definitions, table: TableId) -> dg.AssetsDefinition:
    try:
        return definitions.resolve_assets_def(dg.AssetKey(table.key))
    except dg.DagsterInvariantViolationError:
        raise NotFoundError(
            object=f"asset {table}",
            observed="the code location does not define it",
            expected="the silver asset that fills the quarantine",
            next_step="look into assets/ for the table's asset",
        ) from None


def _chosen(here: Quarantine, which: Which, days: Sequence[str] | None) -> dict[str, str]:
    """Record id to partition of the rows to judge again."""
    if not which:
        raise SettingsError(
            object=f"replay of {here.silver}",
            observed="nothing that says which rows",
            expected="records, a reason, partitions, or what is pending",
            next_step="give --record, --reason, --partition or --pending",
        )
    unknown = [name for name in which.partitions if days is None or name not in set(days)]
    if unknown:
        raise NotFoundError(
            object=f"partition {some(unknown)} of {here.silver}",
            observed="the asset has no partitions: it is replaced whole"
            if days is None
            else "no partition of the asset",
            expected="no --partition" if days is None else f"days from {days[0]} to {days[-1]}",
            next_step="choose by --record, --reason or --pending" if days is None else "correct the day",
        )
    found = {name: partition for name, (partition, _) in here.places(which.records).items()}
    if which.pending:
        found |= here.pending()
    if which.reason:
        found |= {row["record_id"]: row["partition"] for row in here.rows(reason=which.reason)}
    for partition in which.partitions:
        found |= here.records(partition)
    if not found and not which.partitions:
        raise NotFoundError(
            object=f"replay of {here.silver}",
            observed="no row is chosen: none is pending" if which.pending else f"no waiting row broke {which.reason!r}",
            expected="rows to judge again",
            next_step=f"goldpath quarantine list {here.silver.domain}/{here.silver.table}",
        )
    return found


def _ranges(partitions: Sequence[str], days: Sequence[str] | None) -> Iterator[tuple[str, ...]]:
    """The partitions as runs of adjoining days; all at once where the asset has no partitions."""
    if days is None:
        yield tuple(partitions)
        return
    wanted = set(partitions)
    for chosen, group in itertools.groupby(days, key=wanted.__contains__):
        if chosen:
            yield tuple(group)


def _run(
    definitions: dg.Definitions, table: TableId, instance: dg.DagsterInstance, *, run_id: str, tags: dict[str, str]
) -> None:
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
