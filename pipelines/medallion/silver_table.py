"""A silver table: what it is derived by, and how rows of bronze are judged for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipelines.contracts.model import Contract
from pipelines.governed.declaration import GovernedRun
from pipelines.medallion.judging import Judged, Narrowed, Transform, in_contract_types, judge_rows
from pipelines.quarantine.decisions import EffectiveDecisions
from pipelines.tables import PARTITION, RECORD_ID, RESCUED, TableId
from pipelines.verdict import keys, masking, rescued, verdict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.lineage.column_lineage import ColumnLineage


@dataclass(frozen=True, slots=True)
class SilverTable:
    """A silver table's contract and transform.

    Attributes:
        contract: The contract of the table.
        transform: The function that makes silver rows of typed bronze rows.
        side_inputs: The other tables that the transform reads, by parameter name.
        layout: `days` for a table that is partitioned by day, `whole` for one that is not partitioned.
    """

    contract: Contract
    transform: Transform
    side_inputs: Mapping[str, TableId]
    layout: Literal["days", "whole"]

    @property
    def bronze(self) -> TableId:
        """The bronze table that it is derived from."""
        return TableId("bronze", self.contract.table.domain, self.contract.table.table)

    @property
    def quarantine(self) -> TableId:
        """The table of its rejected rows."""
        return TableId("quarantine", self.contract.table.domain, self.contract.table.table)

    @property
    def references(self) -> set[TableId]:
        """The tables that its reference rules point to."""
        return {rule.argument[0] for rule in self.contract.row_rules if rule.kind == "reference"}

    @property
    def inputs(self) -> dict[str, TableId]:
        """Every table that a run pins, by the name under which the run reads it."""
        return {"bronze": self.bronze} | dict(self.side_inputs) | {f"in {table}": table for table in self.references}

    @property
    def partition_columns(self) -> list[str]:
        """The partition columns of the table and of its quarantine."""
        return [PARTITION] if self.layout == "days" else []

    @property
    def rules(self) -> tuple[int, dict[str, str]]:
        """The rules of the platform by which rows are judged; a table that was derived by others is derived again."""
        return keys.RULES, masking.rules(self.contract)

    def delivered_names(self, run: GovernedRun) -> dict[str, str]:
        """The names in deliveries of the columns of bronze, by which values of `_rescued` are found."""
        return {column.name: column.delivered_name for column in run.platform.contracts[self.bronze].columns}

    def judge(
        self,
        run: GovernedRun,
        raw: DataFrame,
        in_effect: EffectiveDecisions,
        contract: Contract,
        further_columns: Sequence[str],
        parts: Sequence[str] | None = None,
    ) -> Judged:
        """Types, transforms, masks and judges bronze rows.

        Args:
            run: The run, whose pinned versions are read.
            raw: The bronze rows.
            in_effect: The decisions that count for them.
            contract: The table's contract, or one with a part of its rules.
            further_columns: Columns that are staged beside the published ones.
            parts: The intervals whose rows they are, the days of a table by days; None for all.
        """
        from pipelines.lineage.column_lineage import SourceColumn
        from pipelines.lineage.row_by_row import fates, read_from  # imports sqlglot

        some = not run.platform.lakehouse.snapshot(run.versions["bronze"]).lacks(RESCUED, parts=parts)
        raw = in_effect.apply(rescued.restored(raw, run.platform.contracts[self.bronze], some=some))

        def transformed(words: verdict.Words) -> DataFrame:
            typed = verdict.typed(raw, contract, run.platform.settings.engine, words=words)
            return self.transform(typed, **{name: run.input(name) for name in self.side_inputs})

        def told(words: verdict.Words, narrowed: Narrowed | None = None) -> DataFrame:
            rows = first if words == "left out" else transformed(words)
            if narrowed and fates(rows, raw) is not None:
                rows = read_from(rows, raw, narrowed(raw))
            rows = in_contract_types(contract, rows, (*contract.variant_columns, RECORD_ID, *further_columns))
            return masking.masked_columns(contract, rows)

        first = transformed("left out")
        became = fates(first, raw)
        number_tells = became is not None and len(became) < 2

        def arrived(lineage: ColumnLineage) -> verdict.Fingerprint:
            keeps_ids = lineage.columns[RECORD_ID] == (SourceColumn(str(self.bronze), RECORD_ID, "identity"),)
            return records.result() if keeps_ids or not number_tells else verdict.fingerprint(raw)

        # The engine reads the records while Python makes the plan of the rows.
        with ThreadPoolExecutor(max_workers=1) as beside:
            records = beside.submit(verdict.number if number_tells else verdict.fingerprint, raw)
            return judge_rows(
                run,
                contract,
                told,
                {table: run.input(f"in {table}") for table in self.references},
                columns=[*contract.published_columns, RECORD_ID, *further_columns],
                partition_by=[verdict.VERDICT, *self.partition_columns],
                within=self.partition_columns,
                days=parts if self.layout == "days" else None,
                arrived=arrived,
            )
