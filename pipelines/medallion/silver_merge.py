"""Silver from increments: each batch of bronze is judged once, and merged into the table by its key.

The number of the last merged batch is an app transaction of the table. Its name is new whenever the contract, the code
or a decision about a row is another than before: then no batch is merged, and all of them are, anew, in one commit. Of
several rows with one key the contract's `winner` stays, whatever the order in which they came; the others are
superseded, and remain in bronze.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import DefinitionError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse.staging import Append, Merge, Overwrite
from pipelines.landing.edge import BATCH_BYTES
from pipelines.medallion.bronze import INGEST
from pipelines.medallion.code_digest import code_digest
from pipelines.medallion.derived_from import DerivedFrom, digest
from pipelines.medallion.judging import Judged, at_version, commit_metadata, quarantined, rejects, unchanged, written
from pipelines.medallion.silver_table import SilverTable
from pipelines.quarantine import dagster_metadata
from pipelines.tables import INGEST_ID, INGESTED_AT, PARTITION, RECORD_ID, SOURCE_ROW, SOURCE_URI
from pipelines.verdict import verdict, winner

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.lakehouse.staging import Staged
    from pipelines.quarantine.decisions import InEffect

#: The app transaction's name begins so.
MERGED = "merged"
PLACE = "_latest"


@dataclass(frozen=True, slots=True)
class _Step:
    """Some batches: judged, and what was committed of them."""

    found: Judged
    good: Staged
    bad: Staged
    figures: dict[str, Any]


class Merging:
    """One run that merges what bronze has beyond the last merged batch."""

    def __init__(self, table: SilverTable, run: GovernedRun, effect: InEffect) -> None:
        self.table = table
        self.contract = table.contract
        self.run = run
        self.effect = effect
        self.house = run.platform.lakehouse
        self.key = tuple(self.contract.key_columns)
        self.note = DerivedFrom.read(run.platform.note_path(self.contract.table))
        self.derivation = digest(code_digest(self.contract, table.transform), effect.digest)

    def work(self) -> Iterator[Written]:
        run, house, contract = self.run, self.house, self.contract
        newest = house.snapshot(run.versions["bronze"]).batch(INGEST)
        same = self.note.digests.get("derivation") == self.derivation and not run.recomputes
        exists = house.version(contract.table) is not None
        app = self.note.digests["app"] if same and exists else f"{MERGED} {run.run_id}"
        last = house.batch(contract.table, app)
        if last >= newest and same and exists:
            yield unchanged(run, contract)
            yield unchanged(run, contract, self.table.rejected)
            return
        merged: list[_Step] = []
        while not merged or last < newest:
            upto = newest if last < 0 else self._upto(app, last, newest)
            merged.append(self._merge(app, last, upto, anew=last < 0 and exists))
            if not merged[-1].found.verdict.passed:
                yield written(run, contract, merged[-1].found)
                raise merged[-1].found.verdict.refuse()
            last = upto
        self.note.note({"derivation": self.derivation, "app": app}, version=None)
        whole = verdict.combine([step.found.verdict for step in merged], contract, merged[-1].found.verdict.table_rules)
        wrote = written(run, contract, replace(merged[-1].found, verdict=whole))
        at, rows = house.current(contract.table), sum(step.good.rows for step in merged)
        wrote.dataset = replace(at_version(wrote.dataset, at, merged[-1].good), rows=rows)
        held, lost = house.snapshot(at).rows, whole.rows_clean - rows
        wrote.metadata |= {"rows_superseded_in_batch": lost, "rows_in_table": held}
        if wrote.check is not None:
            words = [wrote.check.description, f"{lost:,} superseded by a row with the same key" if lost else None]
            wrote.check = wrote.check._replace(description="; ".join(filter(None, [*words, f"{held:,} in the table"])))
        yield wrote
        figures = dagster_metadata.total([step.figures for step in merged])
        rejected = quarantined(contract, house.current(self.table.rejected), merged[-1].bad, figures)
        rejected.dataset = replace(rejected.dataset, rows=whole.rows_quarantined)
        yield rejected

    def _upto(self, app: str, last: int, newest: int) -> int:
        """The last of the batches that are merged next: together they are no bigger than bronze takes at once.

        Where a killed run had committed the quarantine of some batches, these are merged by themselves.
        """
        half = self.house.batch(self.table.rejected, app)
        if half > last:
            return half
        upto, size = last, 0
        for number, bytes in self.run.platform.ledger(self.table.bronze).sizes(after=last):
            if number > newest or (upto > last and size + bytes > BATCH_BYTES):
                break
            upto, size = number, size + bytes
        return upto if upto > last else newest

    def _merge(self, app: str, last: int, upto: int, *, anew: bool) -> _Step:
        """Judges the batches after `last`, up to `upto`, and commits what passed."""
        house, contract, metadata = self.house, self.contract, commit_metadata(self.run)
        found = self._judge(last, upto)
        good = self._latest(found) if self.key else found.staged.where(verdict.VERDICT, verdict.CLEAN)
        good = good.select([*contract.published_columns, RECORD_ID])
        bad = rejects(house, self.table.rejected, [found], self.effect, [])
        figures = dagster_metadata.figures(found.verdict, bad, self.effect)
        if found.verdict.passed:
            added = Overwrite(app=app, batch=upto) if anew else Append(app, upto)
            house.commit(self.table.rejected, bad, added, metadata=metadata)
            if self.key and not anew and good.rows:
                added = Merge(self.key, winner.newcomer_wins(contract), app, upto)
            house.commit(contract.table, good, added, metadata=metadata)
        return _Step(found, good, bad, figures)

    def _judge(self, last: int, upto: int) -> Judged:
        """The rows of these batches; those that share a key are no duplicates here, since one supersedes."""
        from pyspark.sql import functions as F

        raw = self.run.input("bronze")
        if last >= 0:
            days = self.run.platform.ledger(self.table.bronze).intervals(after=last)
            taken = F.col(INGEST_ID).between(f"{last + 1:08d}", f"{upto:08d}")
            raw = raw.where(F.col(PARTITION).isin(*days) & taken)
        about_key = ("duplicate", "variant")
        rules = [r for r in self.contract.row_rules if r.kind not in about_key or r.argument != self.key]
        return self.table.judge(
            self.run, raw, self.effect, replace(self.contract, row_rules=tuple(rules)), self._order_columns()
        )

    def _order_columns(self) -> list[str]:
        """What decides about the winner within a batch and is not published."""
        if not self.key:
            return []
        published = set(self.contract.published_columns)
        unknown = [name for name in winner.compared(self.contract) if name not in published]
        if unknown:
            raise DefinitionError(
                object=f"contract {self.contract.path.name}, winner",
                observed=f"{', '.join(unknown)}, which the table does not hold",
                expected=f"columns of the table, or {' or '.join(winner.GROWING)}, which new rows can be compared by",
                next_step="publish the column, or name another",
            )
        return [INGEST_ID, INGESTED_AT, SOURCE_URI, SOURCE_ROW]

    def _latest(self, found: Judged) -> Staged:
        """Of the clean rows the one that stays for each key; a row without a whole key stays as it is."""
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        clean = found.staged.where(verdict.VERDICT, verdict.CLEAN)
        rows = self.house.read_staged(found.staged).where(F.col(verdict.VERDICT) == verdict.CLEAN)
        if not self._repeats(rows):
            return clean
        names = [*self.contract.published_columns, RECORD_ID]
        order = Window.partitionBy(*self.key).orderBy(*winner.order(self.contract, {RECORD_ID}))
        first = F.row_number().over(order) == 1
        for name in self.key:
            first = first | F.col(name).isNull()
        return self.house.stage(self.contract.table, rows.withColumn(PLACE, first).where(PLACE).select(*names))

    def _repeats(self, rows: DataFrame) -> bool:
        from pyspark.sql import functions as F

        whole = rows.dropna(subset=list(self.key))
        count, keys = whole.agg(F.count(F.lit(1)), F.count_distinct(F.xxhash64(*self.key))).collect()[0]
        return bool(keys < count)
