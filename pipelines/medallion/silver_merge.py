"""Silver from increments: each batch of bronze is judged once, and merged into the table by its key.

The number of the last merged batch is an app transaction of the table. The name of the app changes when the contract,
the code or a decision about a row changes, or when landed files were read again; the table then has no merged batch
under the new name, and all batches are merged again, in one commit that replaces the table. Of several rows with one
key the contract's `winner` stays, whatever the order in which they arrived. The other rows are superseded: they are in
bronze only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import DefinitionError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse import delta_commits
from pipelines.lakehouse.catalog import text
from pipelines.lakehouse.staging import Append, Merge, Overwrite
from pipelines.landing.edge import BATCH_BYTES
from pipelines.medallion.bronze import INGEST
from pipelines.medallion.code_digest import code_digest
from pipelines.medallion.derived_from import DerivedFrom, digest
from pipelines.medallion.judging import (
    Judged,
    commit_metadata,
    table_written,
    unchanged,
    warned,
    with_version,
)
from pipelines.medallion.rejected import quarantine_written, stage_rejected
from pipelines.medallion.silver_table import SilverTable
from pipelines.quality import recorded
from pipelines.quarantine import dagster_metadata
from pipelines.tables import INGEST_ID, PARTITION, RECORD_ID, STAYS, quoted
from pipelines.verdict import keys, table_rules, verdict, winner

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.lakehouse.staging import Staged
    from pipelines.quarantine.decisions import EffectiveDecisions

#: The first word of the app's name.
MERGED = "merged"
#: The first word of the app that adds the rejected rows of a refused run to the quarantine.
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class _MergedBatches:
    """Consecutive batches that were judged and committed together.

    Attributes:
        judged: All of their rows.
        clean: The rows that were merged into the table.
        respelled: How many keys were taken for one that is spelled differently: by case or surrounding space.
        rejected: The rows that were added to the quarantine.
        figures: What Dagster shows about the rejected rows.
    """

    judged: Judged
    clean: Staged
    respelled: int
    rejected: Staged
    figures: dict[str, Any]


class MergingRun:
    """A run that merges the batches of bronze that are newer than the last merged one."""

    def __init__(self, table: SilverTable, run: GovernedRun, in_effect: EffectiveDecisions) -> None:
        self.table = table
        self.contract = table.contract
        self.run = run
        self.in_effect = in_effect
        self.house = run.platform.lakehouse
        self.key = tuple(self.contract.key_columns)
        self.note = DerivedFrom.read(run.platform.note_path(self.contract.table))
        self.newest = self.house.snapshot(run.versions["bronze"]).batch(INGEST)
        retake = run.platform.ledger(table.bronze).last_retake(committed=self.newest)
        code = code_digest(self.contract, table.transform)
        self.derivation = digest(
            code, in_effect.digest, run.input_classes, table.rules, table.delivered_names(run), retake
        )

    def work(self) -> Iterator[Written]:
        """Merges batch after batch, and publishes the table and its quarantine.

        Raises:
            VerdictError: if a batch may not be published; the batches before it stay merged.
        """
        run, house, contract, newest = self.run, self.house, self.contract, self.newest
        self._require_no_other_key()
        same = self.note.digests.get("derivation") == self.derivation and not run.recomputes
        exists = house.version(contract.table) is not None
        app = self.note.digests["app"] if same and exists else f"{MERGED} {run.run_id}"
        last = house.batch(contract.table, app)
        if exists and house.batch(self.table.quarantine, app) < last:  # it is committed first, so it lost versions
            app, last = f"{MERGED} {run.run_id}", -1
        if last >= newest and same and exists:
            yield unchanged(run, contract)
            yield unchanged(run, contract, self.table.quarantine)
            return
        if last >= 0:
            self._remove_refused(after=max(last, house.batch(self.table.quarantine, app)))
        merged: list[_MergedBatches] = []
        while not merged or last < newest:
            upto = newest if last < 0 else self._upto(app, last, newest)
            merged.append(self._merge(app, last, upto))
            judged = merged[-1].judged
            if not judged.verdict.passed:
                yield table_written(run, contract, judged)
                raise judged.verdict.refuse()
            last = upto
        self.note.note({"derivation": self.derivation, "app": app}, version=None)
        yield from self._written(merged)

    def _require_no_other_key(self) -> None:
        """Raises DefinitionError for a column that is unique beside the key: a batch shows nothing of other batches."""
        others = [rule for rule in self.contract.row_rules if rule.kind == "duplicate" and rule.argument != self.key]
        if others:
            columns = ", ".join(sorted({name for rule in others for name in rule.argument}))
            raise DefinitionError(
                object=f"contract {self.contract.path.name}, unique",
                observed=f"{columns}: not the key of increments, so rows of other batches are not seen",
                expected="unique on the primary key alone, in a table of increments",
                next_step=f"in place of it, write the table rule {{metric: duplicateValues, arguments: {{properties: "
                f"[{columns}]}}, mustBe: 0}}, which is measured on the whole table; or make it the primary key",
            )

    def _written(self, merged: list[_MergedBatches]) -> Iterator[Written]:
        """What the run records about the table and its quarantine, for all merged batches together."""
        run, house, contract, newest = self.run, self.house, self.contract, merged[-1]
        verdicts = [batches.judged.verdict for batches in merged]
        combined = verdict.combine(verdicts, contract, newest.judged.verdict.table_rules)
        at, rows = house.current(contract.table), sum(batches.clean.rows for batches in merged)
        rows_in_table, superseded = house.snapshot(at).rows, combined.rows_clean - rows
        words = [f"{superseded:,} superseded by a row with the same key"] if superseded else []
        words.append(f"{rows_in_table:,} in the table")
        written = table_written(run, contract, replace(newest.judged, verdict=combined), words)
        written.dataset = replace(with_version(written.dataset, at, newest.clean), rows=rows)
        written.metadata |= {"rows_superseded_in_batch": superseded, "rows_in_table": rows_in_table}
        respelled = sum(batches.respelled for batches in merged)
        spelling = f"{respelled:,} keys were taken for one of other case or space (`keyMatch: exact` keeps them apart)"
        yield warned(written, spelling if respelled else "")
        figures = dagster_metadata.total([batches.figures for batches in merged])
        quarantine_at = house.current(self.table.quarantine)
        quarantine = quarantine_written(contract, quarantine_at, newest.rejected, figures)
        quarantine.dataset = replace(quarantine.dataset, rows=combined.rows_quarantined)
        yield quarantine

    def _upto(self, app: str, last: int, newest: int) -> int:
        """The last of the batches to merge next; together they are no larger than what one batch may hold.

        If a killed run committed batches to the quarantine and not to the table, these are merged first, by themselves.
        """
        in_quarantine = self.house.batch(self.table.quarantine, app)
        if in_quarantine > last:
            return in_quarantine
        upto, total_bytes = last, 0
        for number, batch_bytes in self.run.platform.ledger(self.table.bronze).sizes(after=last):
            if number > newest or (upto > last and total_bytes + batch_bytes > BATCH_BYTES):
                break
            upto, total_bytes = number, total_bytes + batch_bytes
        return upto if upto > last else newest

    def _merge(self, app: str, last: int, upto: int) -> _MergedBatches:
        """Judges the batches after `last`, up to `upto`, and commits them if their verdict passes.

        Before the first batch the rows replace what the table and its quarantine hold: rows of another derivation, or
        of a run that was killed between the two commits.

        Args:
            app: The name of the app transaction.
            last: The last batch that was merged; -1 before the first.
            upto: The last batch to merge now.
        """
        house, contract, metadata = self.house, self.contract, commit_metadata(self.run)
        judged = self._judge(last, upto)
        clean, respelled = judged.staged.where(verdict.VERDICT, verdict.CLEAN), 0
        if self.key:
            clean, respelled = self._without_superseded(judged, clean)
        clean = clean.select([*contract.published_columns, RECORD_ID])
        judged = self._with_table_rules(judged, clean, last)
        rejected = stage_rejected(house, self.table.quarantine, [judged], self.in_effect, [])
        figures = dagster_metadata.figures(judged.verdict, rejected, self.in_effect)
        if not judged.verdict.passed:
            # Under an app of its own: the rows are there to look at, and the next run judges the batches again.
            if rejected.rows:
                write = Overwrite() if last < 0 else Append(f"{REFUSED} {self.run.run_id}", upto)
                house.commit(self.table.quarantine, rejected, write, metadata=metadata)
        else:
            write = Overwrite(app=app, batch=upto) if last < 0 else Append(app, upto)
            house.commit(self.table.quarantine, rejected, write, metadata=metadata)
            if self.key and last >= 0 and keys.is_normalized(contract, self.key):
                respelled += self._respelled(clean)
            if self.key and last >= 0 and clean.rows:
                same, wins = keys.same(contract, self.key), winner.newcomer_wins(contract)
                write = Merge(same, wins, self.key, tuple(winner.compared(contract)), app, upto)
            house.commit(contract.table, clean, write, metadata=metadata)
        return _MergedBatches(judged, clean, respelled, rejected, figures)

    def _with_table_rules(self, judged: Judged, clean: Staged, last: int) -> Judged:
        """The judged rows with the table rules measured on the table as it is once the clean rows are merged."""
        contract = self.contract
        if not contract.table_rules:
            return judged
        rows = self.house.read_staged(clean)
        if last >= 0:
            rows = self._merged(rows)
        run = self.run
        previous = recorded.previous_shares(contract, folder=run.platform.settings.root / "quality")
        results = table_rules.measure(rows, contract, now=run.platform.now(), previous=previous)
        return replace(judged, verdict=replace(judged.verdict, contract=contract, table_rules=results))

    def _merged(self, new: DataFrame) -> DataFrame:
        """The rows of the table after these are merged into it."""
        from pyspark.sql import functions as F

        old = self.house.read(self.house.current(self.contract.table)).select(*map(quoted, new.columns))
        if not self.key:
            return old.unionByName(new)
        same, wins = keys.same(self.contract, self.key), f"coalesce({winner.newcomer_wins(self.contract)}, false)"
        old, new = old.alias("old"), new.alias("new")
        stays = old.join(F.broadcast(new), F.expr(f"({same}) AND ({wins})"), "left_anti")
        return stays.unionByName(new.join(old, F.expr(f"({same}) AND NOT ({wins})"), "left_anti"))

    def _remove_refused(self, *, after: int) -> None:
        """Removes the rejected rows of later batches from the quarantine, which a run left there that was refused."""
        quarantine = self.table.quarantine
        later = text(INGEST_ID) > f"{after:08d}"
        if self.house.snapshot(quarantine).arrow(columns=[RECORD_ID], where=later).num_rows:
            metadata = commit_metadata(self.run)
            delta_commits.delete_rows(self.house, quarantine, f"{INGEST_ID} > '{after:08d}'", metadata=metadata)

    def _judge(self, last: int, upto: int) -> Judged:
        """Judges the rows of these batches, without table rules and the rules about rows that share the table's key.

        Such rows are no duplicates here, because one of them supersedes the others. `_with_table_rules` does the rest.
        """
        from pyspark.sql import functions as F

        raw, days = self.run.input("bronze"), None
        if last >= 0:
            days = self.run.platform.ledger(self.table.bronze).intervals(after=last)
            in_batches = F.col(INGEST_ID).between(f"{last + 1:08d}", f"{upto:08d}")
            covered = (
                F.coalesce(F.col(PARTITION), F.lit("")).isin(*days) if "" in days else F.col(PARTITION).isin(*days)
            )
            raw = raw.where(covered & in_batches)
        rules = tuple(
            rule
            for rule in self.contract.row_rules
            if rule.kind not in ("duplicate", "variant") or rule.argument != self.key
        )
        contract = replace(self.contract, row_rules=rules, table_rules=())
        return self.table.judge(self.run, raw, self.in_effect, contract, self._order_columns(), days)

    def _order_columns(self) -> list[str]:
        """The columns that decide about the winner within a batch and are not published.

        Raises:
            DefinitionError: if the winner depends on a column by which rows of different batches cannot be compared.
        """
        if not self.key:
            return []
        published = set(self.contract.published_columns)
        unknown = [name for name in winner.compared(self.contract) if name not in published]
        if unknown:
            raise DefinitionError(
                object=f"contract {self.contract.path.name}, winner",
                observed=f"{', '.join(unknown)}, which the table does not hold",
                expected=f"columns of the table, or {' or '.join(winner.GROWING)}, which increase with every batch",
                next_step="publish the column, or name another",
            )
        return list(winner.ARRIVAL)

    def _respelled(self, clean: Staged) -> int:
        """How many of these keys are in the table in another spelling."""
        from pyspark.sql import functions as F

        table = self.house.read(self.house.current(self.contract.table))
        new, old = self.house.read_staged(clean).alias("new"), table.alias("old")
        pairs = F.broadcast(new).join(old, F.expr(keys.same(self.contract, self.key)))
        return pairs.where(" OR ".join(f"old.{quoted(name)} <> new.{quoted(name)}" for name in self.key)).count()

    def _without_superseded(self, judged: Judged, clean: Staged) -> tuple[Staged, int]:
        """The clean rows without those that another row of their key supersedes, and how many keys were respelled."""
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        rows = self.house.read_staged(judged.staged).where(F.col(verdict.VERDICT) == verdict.CLEAN)
        key = [F.expr(value) for value in keys.values(self.contract, self.key)]
        spelled = F.count_distinct(F.xxhash64(*map(quoted, self.key)))
        count, distinct, spellings = rows.agg(F.count(F.lit(1)), F.count_distinct(F.xxhash64(*key)), spelled).collect()[
            0
        ]
        if distinct == count:
            return clean, 0
        names = map(quoted, [*self.contract.published_columns, RECORD_ID])
        order = Window.partitionBy(*key).orderBy(*winner.order(self.contract, {RECORD_ID, *winner.ARRIVAL}))
        stays = F.row_number().over(order) == 1
        staying = rows.withColumn(STAYS, stays).where(STAYS).select(*names)
        return self.house.stage(self.contract.table, staying), spellings - distinct
