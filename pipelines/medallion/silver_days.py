"""Silver from days or snapshots: the rows that a run derives replace those that were there."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse.staging import Overwrite
from pipelines.landing import interval
from pipelines.medallion.bronze import INGEST
from pipelines.medallion.code_digest import code_digest
from pipelines.medallion.derived_from import DerivedFrom, digest
from pipelines.medallion.judging import (
    Judged,
    commit_metadata,
    judge_slices,
    table_written,
    unchanged,
    warned,
    with_version,
)
from pipelines.medallion.rejected import quarantine_written, stage_rejected
from pipelines.medallion.silver_table import SilverTable
from pipelines.quarantine import dagster_metadata
from pipelines.quarantine.decisions import EffectiveDecisions
from pipelines.tables import PARTITION, RECORD_ID
from pipelines.verdict import verdict

if TYPE_CHECKING:
    from pipelines.lakehouse.staging import Staged

#: The most rows that are judged at once, unless one day has more; they have to fit into memory.
SLICE_ROWS = 1_000_000


class ReplacingRun:
    """A run over days, or over the newest snapshot; what it derives replaces what was there."""

    def __init__(self, table: SilverTable, run: GovernedRun, in_effect: EffectiveDecisions) -> None:
        self.table = table
        self.contract = table.contract
        self.run = run
        self.in_effect = in_effect
        self.house = run.platform.lakehouse

    def work(self) -> Iterator[Written]:
        """Derives the parts that changed, and publishes the table and its quarantine.

        Days whose table rules fail are not published, the others are. The quarantine has the rejected rows of both.

        Raises:
            VerdictError: if the new version, or a day of it, may not be published; what was there before stays.
        """
        run, house, contract = self.run, self.house, self.contract
        note = DerivedFrom.of(run.platform, contract.table)
        bronze_rows = house.snapshot(run.versions["bronze"]).partition_rows(PARTITION)
        digests = self._digests(bronze_rows, note)
        if self.table.layout == "days":
            note.require_all_lost(run.partitions or (), contract.table)
        left_out = "; ".join(filter(None, [self._left_out(bronze_rows), self._not_delivered(digests)]))
        changed = list(digests) if run.recomputes or note.version is None else note.changed(digests)
        if not changed and note.version is not None:
            yield warned(unchanged(run, contract), left_out)
            yield unchanged(run, contract, self.table.quarantine)
            return
        slices = [functools.partial(self._judge, parts) for parts in _slices(changed, bronze_rows)]
        judged, judged_slices = judge_slices(run, contract, slices)
        result, written = judged.verdict, warned(table_written(run, contract, judged), left_out)
        refused = set() if result.passed else {*changed}.difference(result.publishable_days)
        if refused == {*changed} and not result.rows_quarantined:
            yield written
            raise result.refuse()
        rejected = stage_rejected(
            house, self.table.quarantine, judged_slices, self.in_effect, self.table.partition_columns
        )
        figures = dagster_metadata.figures(result, rejected, self.in_effect)
        metadata = commit_metadata(run)
        quarantine_at = house.commit(self.table.quarantine, rejected, self._overwrite(changed), metadata=metadata)
        if refused != {*changed}:
            clean = self._clean(judged, refused)
            published = [part for part in changed if part not in refused]
            at = house.commit(contract.table, clean, self._overwrite(published), metadata=metadata)
            derived = {part: value for part, value in digests.items() if part not in refused}
            note.note(derived, version=at.version, quarantine=quarantine_at.version)
            written.dataset = with_version(written.dataset, at, clean)
            written.by_partition = self._rows_by_day(judged)
        yield warned(written, self._wholly_rejected(judged))
        if refused:
            raise result.refuse()
        yield quarantine_written(contract, quarantine_at, rejected, figures)

    def _rows_by_day(self, judged: Judged) -> dict[str, dict[str, int]]:
        """The rows of each day of the run, as Dagster shows them on its partition; none if it did not change."""
        rows: Counter[tuple[str | None, str | None]] = Counter()
        for file in judged.staged.files:
            rows[file.partition.get(PARTITION), file.partition[verdict.VERDICT]] += file.rows
        return {
            day: {
                "partition_rows_clean": rows[day, verdict.CLEAN],
                "partition_rows_quarantined": rows[day, verdict.QUARANTINE],
            }
            for day in self.run.partitions or ()
        }

    def _wholly_rejected(self, judged: Judged) -> str:
        """What to say about days of which every row was rejected; empty if there are none."""
        if self.table.layout != "days":
            return ""
        days = [
            day
            for day, rows in self._rows_by_day(judged).items()
            if rows["partition_rows_quarantined"] and not rows["partition_rows_clean"]
        ]
        return f"every row of {', '.join(days)} was rejected" if days else ""

    def _not_delivered(self, digests: Mapping[str, str]) -> str:
        """What to say about days of the run that nothing was delivered for, if the table has rules for its days."""
        days = [day for day in self.run.partitions or () if day not in digests]
        if not days or all(rule.kind == "freshness" for rule in self.contract.table_rules):
            return ""
        more = f" and {len(days) - 1:,} more days" if days[1:] else ""
        return f"nothing was delivered for {days[0]}{more}, so no rule was judged there"

    def _left_out(self, bronze_rows: Mapping[str, int]) -> str:
        """What to say about rows of bronze whose interval is no part of this table; empty if there are none."""
        days = self.run.all_partitions
        outside = [
            part for part in bronze_rows if (part not in days if days is not None else not interval.is_interval(part))
        ]
        if not outside:
            return ""
        names = ", ".join(f"dt={part or ''}" for part in sorted(outside, key=str))
        rows = sum(bronze_rows[part] for part in outside)
        return (
            f"{rows:,} rows of bronze are not in this table, since it has no {names}: land them under one of its days"
        )

    def _overwrite(self, parts: Sequence[str]) -> Overwrite:
        """The write that replaces these parts of the table or of its quarantine."""
        return Overwrite(tuple(parts) if self.table.layout == "days" else None)

    def _clean(self, judged: Judged, refused: Collection[str]) -> Staged:
        """The clean rows of the days that are not refused, with the columns that are published."""
        columns = [*self.contract.published_columns, RECORD_ID, *self.table.partition_columns]
        clean = judged.staged.where(verdict.VERDICT, verdict.CLEAN).select(columns)
        files = [file for file in clean.files if file.partition.get(PARTITION) not in refused]
        return dataclasses.replace(clean, files=tuple(files))

    def _digests(self, bronze_rows: Mapping[str, int], note: DerivedFrom) -> dict[str, str]:
        """For each part of the table that this run covers, a digest of everything that it is derived from.

        A part is the newest snapshot, or a day: one that was delivered, perhaps without rows, or was derived before. A
        first run over days that were not delivered derives them all, so that the table exists.
        """
        run, contract = self.run, self.contract
        versions = {name: at.version for name, at in run.versions.items() if name != "bronze"}
        names = self.table.delivered_names(run)
        code = digest(code_digest(contract, self.table.transform), versions, run.input_classes, self.table.rules, names)
        deliveries = run.platform.ledger(self.table.bronze).contents(
            committed=run.platform.lakehouse.snapshot(run.versions["bronze"]).batch(INGEST)
        )
        if self.table.layout == "days":
            known = {*bronze_rows, *deliveries, *note.digests}
            parts = [day for day in run.partitions or () if day in known]
            if not parts and note.version is None:
                parts = list(run.partitions or ())
        else:
            snapshots = filter(interval.is_interval, {*bronze_rows, *deliveries})  # also one without rows
            parts = [max(snapshots, default="", key=interval.order)]
        return {
            part: digest(code, bronze_rows.get(part, 0), deliveries.get(part, []), self.in_effect.digest_of(part))
            for part in parts
        }

    def _judge(self, parts: Sequence[str], contract: Contract) -> Judged:
        from pyspark.sql import functions as F

        raw = self.run.input("bronze").where(F.col(PARTITION).isin(*parts))
        return self.table.judge(self.run, raw, self.in_effect, contract, self.table.partition_columns, parts)


def _slices(parts: Sequence[str], rows: Mapping[str, int]) -> list[list[str]]:
    """The parts in their order, in groups of at most SLICE_ROWS rows; a part with more rows is a group by itself."""
    slices: list[list[str]] = [[]]
    size = 0
    for part in parts:
        if slices[-1] and size + rows.get(part, 0) > SLICE_ROWS:
            slices.append([])
            size = 0
        slices[-1].append(part)
        size += rows.get(part, 0)
    return slices
