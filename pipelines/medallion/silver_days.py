"""Silver from days or snapshots: the rows that a run derives replace those that were there."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

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
    quarantine_written,
    stage_rejected,
    table_written,
    unchanged,
    with_version,
)
from pipelines.medallion.silver_table import SilverTable
from pipelines.quarantine import dagster_metadata
from pipelines.quarantine.decisions import EffectiveDecisions
from pipelines.tables import PARTITION, RECORD_ID
from pipelines.verdict import keys, verdict

#: The most rows that are judged at once, unless one day has more; they have to fit into memory.
SLICE_ROWS = 2_000_000


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

        Raises:
            VerdictError: if the new version may not be published; the version before stays.
        """
        run, house, contract = self.run, self.house, self.contract
        note = DerivedFrom.of(run.platform, contract.table)
        bronze_rows = house.snapshot(run.versions["bronze"]).partition_rows(PARTITION)
        digests = self._digests(bronze_rows, note)
        changed = list(digests) if run.recomputes or note.version is None else note.changed(digests)
        if not changed and note.version is not None:
            yield unchanged(run, contract)
            yield unchanged(run, contract, self.table.quarantine)
            return
        slices = [functools.partial(self._judge, parts) for parts in _slices(changed, bronze_rows)]
        judged, judged_slices = judge_slices(run, contract, slices)
        written = table_written(run, contract, judged)
        if not judged.verdict.passed:
            yield written
            raise judged.verdict.refuse()
        overwrite = Overwrite(tuple(changed) if self.table.layout == "days" else None)
        clean = judged.staged.where(verdict.VERDICT, verdict.CLEAN).select(
            [*contract.published_columns, RECORD_ID, *self.table.partition_columns]
        )
        rejected = stage_rejected(
            house, self.table.quarantine, judged_slices, self.in_effect, self.table.partition_columns
        )
        figures = dagster_metadata.figures(judged.verdict, rejected, self.in_effect)
        quarantine_at = house.commit(self.table.quarantine, rejected, overwrite, metadata=commit_metadata(run))
        at = house.commit(contract.table, clean, overwrite, metadata=commit_metadata(run))
        note.note(digests, version=at.version)
        written.dataset = with_version(written.dataset, at, clean)
        yield written
        yield quarantine_written(contract, quarantine_at, rejected, figures)

    def _digests(self, bronze_rows: Mapping[str, int], note: DerivedFrom) -> dict[str, str]:
        """For each part of the table that this run covers, a digest of everything that it is derived from.

        A part is a day, or the newest snapshot.
        """
        run, contract = self.run, self.contract
        versions = {name: at.version for name, at in run.versions.items() if name != "bronze"}
        code = digest(code_digest(contract, self.table.transform), versions, keys.RULES)
        deliveries = run.platform.ledger(self.table.bronze).contents(
            committed=run.platform.lakehouse.snapshot(run.versions["bronze"]).batch(INGEST)
        )
        if self.table.layout == "days":
            covered = run.partitions or ()
            # If nothing arrived for any day of the run, the empty days are judged: a table rule may require rows.
            parts = [day for day in covered if day in bronze_rows or day in note.digests] or list(covered)
        else:
            parts = [
                max({*bronze_rows, *deliveries}, default="", key=interval.order)
            ]  # a snapshot without rows counts as well
        return {
            part: digest(code, bronze_rows.get(part, 0), deliveries.get(part, []), self.in_effect.digest_of(part))
            for part in parts
        }

    def _judge(self, parts: Sequence[str], contract: Contract) -> Judged:
        from pyspark.sql import functions as F

        raw = self.run.input("bronze").where(F.col(PARTITION).isin(*parts))
        return self.table.judge(self.run, raw, self.in_effect, contract, self.table.partition_columns)


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
