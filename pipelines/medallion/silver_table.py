"""What a silver table is made by, and how rows of bronze are judged for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipelines.contracts.model import Contract
from pipelines.governed.declaration import GovernedRun
from pipelines.medallion.judging import Judged, Transform, judged, shaped
from pipelines.quarantine.decisions import InEffect
from pipelines.tables import PARTITION, RECORD_ID, TableId
from pipelines.verdict import verdict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, slots=True)
class SilverTable:
    """What a silver table is made by; `layout` says whether it lies in days or as a whole."""

    contract: Contract
    transform: Transform
    named: Mapping[str, TableId]
    layout: Literal["days", "whole"]

    @property
    def bronze(self) -> TableId:
        return TableId("bronze", self.contract.table.domain, self.contract.table.table)

    @property
    def rejected(self) -> TableId:
        return TableId("quarantine", self.contract.table.domain, self.contract.table.table)

    @property
    def references(self) -> set[TableId]:
        return {rule.argument[0] for rule in self.contract.row_rules if rule.kind == "reference"}

    @property
    def inputs(self) -> dict[str, TableId]:
        """Every table that a run pins, by the name under which it reads it."""
        return {"bronze": self.bronze} | dict(self.named) | {f"in {table}": table for table in self.references}

    @property
    def physical(self) -> list[str]:
        return [PARTITION] if self.layout == "days" else []

    def judge(
        self, run: GovernedRun, raw: DataFrame, effect: InEffect, contract: Contract, also: Sequence[str]
    ) -> Judged:
        """Bronze rows as judged rows of this table; `also` are columns that are staged beside the published ones."""
        raw = effect.apply(raw)
        rows = self.transform(
            verdict.typed(raw, contract, run.platform.settings.engine), **{name: run.input(name) for name in self.named}
        )
        return judged(
            run,
            contract,
            shaped(contract, rows, (*contract.variant_columns, RECORD_ID)),
            {table: run.input(f"in {table}") for table in self.references},
            columns=[*contract.published_columns, RECORD_ID, *also],
            partition_by=[verdict.VERDICT, *self.physical],
            arrived=verdict.fingerprint(raw),
        )
