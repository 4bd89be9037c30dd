"""Silver from days or snapshots: what a run derives again replaces what was there."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

from pipelines.contracts.model import Contract
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse.staging import Overwrite
from pipelines.medallion.code_digest import code_digest
from pipelines.medallion.derived_from import DerivedFrom, digest
from pipelines.medallion.judging import (
    Judged,
    at_version,
    commit_metadata,
    judged_in_slices,
    quarantined,
    rejects,
    unchanged,
    written,
)
from pipelines.medallion.silver_table import SilverTable
from pipelines.quarantine import dagster_metadata
from pipelines.quarantine.decisions import InEffect
from pipelines.tables import PARTITION, RECORD_ID
from pipelines.verdict import verdict

#: Rows that are judged at once; memory holds about so many.
SLICE_ROWS = 2_000_000


class Replacing:
    """A run over days, or over the newest snapshot: what it derives anew replaces what was there."""

    def __init__(self, table: SilverTable, run: GovernedRun, effect: InEffect) -> None:
        self.table = table
        self.contract = table.contract
        self.run = run
        self.effect = effect
        self.house = run.platform.lakehouse

    def work(self) -> Iterator[Written]:
        run, house, contract = self.run, self.house, self.contract
        note = DerivedFrom.of(run.platform, contract.table)
        rows = house.snapshot(run.versions["bronze"]).partition_rows(PARTITION)
        now = self._digests(rows, note)
        changed = list(now) if run.recomputes or note.version is None else note.changed(now)
        if not changed and note.version is not None:
            yield unchanged(run, contract)
            yield unchanged(run, contract, self.table.rejected)
            return
        slices = [functools.partial(self._judge, part) for part in _slices(changed, rows)]
        whole, parts = judged_in_slices(run, contract, slices)
        wrote = written(run, contract, whole)
        if not whole.verdict.passed:
            yield wrote
            raise whole.verdict.refuse()
        replaced = Overwrite(tuple(changed) if self.table.layout == "days" else None)
        good = whole.staged.where(verdict.VERDICT, verdict.CLEAN).select(
            [*contract.published_columns, RECORD_ID, *self.table.physical]
        )
        bad = rejects(house, self.table.rejected, parts, self.effect, self.table.physical)
        figures = dagster_metadata.figures(whole.verdict, bad, self.effect)
        at_bad = house.commit(self.table.rejected, bad, replaced, metadata=commit_metadata(run))
        at = house.commit(contract.table, good, replaced, metadata=commit_metadata(run))
        note.note(now, version=at.version)
        wrote.dataset = at_version(wrote.dataset, at, good)
        yield wrote
        yield quarantined(contract, at_bad, bad, figures)

    def _digests(self, rows: Mapping[str, int], note: DerivedFrom) -> dict[str, str]:
        """For each part that this run covers, what it is derived from."""
        run, contract = self.run, self.contract
        versions = {name: at.version for name, at in run.versions.items() if name != "bronze"}
        code = digest(code_digest(contract, self.table.transform), versions)
        taken = run.platform.ledger(self.table.bronze).contents()
        if self.table.layout == "days":
            covered = run.partitions or ()
            # Where nothing came at all, that is what is judged: a rule may ask for rows.
            parts = [day for day in covered if day in rows or day in note.digests] or list(covered)
        else:
            parts = [max({*rows, *taken}, default="")]  # a snapshot without rows is one too
        decided = {part: self.effect.digest_of(part) for part in parts}
        return {part: digest(code, rows.get(part, 0), taken.get(part, []), decided[part]) for part in parts}

    def _judge(self, part: Sequence[str], contract: Contract) -> Judged:
        from pyspark.sql import functions as F

        raw = self.run.input("bronze").where(F.col(PARTITION).isin(*part))
        return self.table.judge(self.run, raw, self.effect, contract, self.table.physical)


def _slices(parts: Sequence[str], rows: Mapping[str, int]) -> list[list[str]]:
    """The parts in their order, cut where a slice would hold too many rows."""
    found: list[list[str]] = [[]]
    size = 0
    for part in parts:
        if found[-1] and size + rows.get(part, 0) > SLICE_ROWS:
            found.append([])
            size = 0
        found[-1].append(part)
        size += rows.get(part, 0)
    return found
