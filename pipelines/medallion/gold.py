"""Gold tables: each is a function of published tables, and is derived again when their versions change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract
from pipelines.errors import NotFoundError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse.staging import Overwrite
from pipelines.medallion.code_digest import code_digest
from pipelines.medallion.derived_from import DerivedFrom, digest
from pipelines.medallion.judging import (
    Transform,
    commit_metadata,
    in_contract_types,
    judge_rows,
    table_written,
    unchanged,
    with_version,
)
from pipelines.tables import RECORD_ID, TableId

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: The one part of a gold table, for the record of what it was derived from.
WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a gold table is derived.

    Attributes:
        contract: The contract of the table.
        inputs: Parameter name of the transform to input table.
        transform: The function that computes the table's rows.
        choosable: The inputs of which a run reads some; the transform takes those that it is given.
    """

    contract: Contract
    inputs: Mapping[str, TableId]
    transform: Transform
    choosable: frozenset[str] = frozenset()

    def reads(self, inputs: Mapping[str, TableId]) -> bool:
        """Whether these inputs, by parameter name, are what a run may read."""
        known = inputs.items() <= self.inputs.items()
        return known and self.inputs.keys() - inputs.keys() <= self.choosable

    def rows(self, inputs: Mapping[str, DataFrame]) -> tuple[DataFrame, list[str]]:
        """The table's rows as a plan that has not run, and the names of the columns that are published."""
        rows = in_contract_types(self.contract, self.transform(**inputs), ())
        columns = [column.name for column in self.contract.columns]
        return rows, columns + ([RECORD_ID] if RECORD_ID in rows.columns else [])


#: The derivation of every gold asset that was loaded.
derivations: dict[TableId, Derivation] = {}


def derivation_of(table: TableId) -> Derivation:
    """How a gold table is derived.

    Raises:
        NotFoundError: if no gold asset of that table was loaded.
    """
    if table not in derivations:
        raise NotFoundError(
            object=f"derivation of {table}",
            observed="no gold asset of that name",
            expected=f"one of {', '.join(sorted(map(str, derivations)))}",
            next_step="name a table that is a function of others: gold, not bronze or silver",
        )
    return derivations[table]


def gold_work(table: TableId) -> Callable[[GovernedRun], Iterator[Written]]:
    """The work of a gold asset: derives, judges and publishes the table, unless its inputs and its code are unchanged.

    The work raises VerdictError if the new version may not be published.
    """

    def work(run: GovernedRun) -> Iterator[Written]:
        house, derivation = run.platform.lakehouse, derivations[table]
        contract = derivation.contract
        with house.writing(table):
            note = DerivedFrom.of(run.platform, table)
            versions = {name: at.version for name, at in run.versions.items()}
            digests = {WHOLE: digest(code_digest(contract, derivation.transform), versions, run.input_classes)}
            if not note.changed(digests) and not run.recomputes:
                yield unchanged(run, contract)
                return
            rows, columns = derivation.rows({name: run.input(name) for name in run.versions})
            judged = judge_rows(run, contract, lambda words, narrowed=None: rows, {}, columns=columns)
            written = table_written(run, contract, judged)
            if not judged.verdict.passed or judged.verdict.rows_quarantined:
                yield written
                raise judged.verdict.refuse()
            staged = judged.staged.select(columns)
            at = house.commit(table, staged, Overwrite(), metadata=commit_metadata(run))
            note.note(digests, version=at.version)
        written.dataset = with_version(written.dataset, at, staged)
        yield written

    return work
