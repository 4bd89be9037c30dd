"""Gold tables: derived from published tables, each a function of its inputs' versions."""

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
from pipelines.medallion.judging import Transform, at_version, commit_metadata, judged, shaped, unchanged, written
from pipelines.tables import RECORD_ID, TableId

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a gold table follows from its inputs; `inputs` maps the transform's parameters to tables."""

    contract: Contract
    inputs: Mapping[str, TableId]
    transform: Transform

    def rows(self, inputs: Mapping[str, DataFrame]) -> tuple[DataFrame, list[str]]:
        """The table's rows as a plan that has not run, and the columns that are published."""
        rows = shaped(self.contract, self.transform(**inputs), ())
        columns = [column.name for column in self.contract.columns]
        return rows, columns + ([RECORD_ID] if RECORD_ID in rows.columns else [])


derivations: dict[TableId, Derivation] = {}


def derivation(table: TableId) -> Derivation:
    """How a table is derived, once its asset is loaded; raises NotFoundError for one that is no gold asset."""
    if table not in derivations:
        raise NotFoundError(
            object=f"derivation of {table}",
            observed="no gold asset of that name",
            expected=f"one of {', '.join(sorted(map(str, derivations)))}",
            next_step="name a table that is a function of others: gold, not bronze or silver",
        )
    return derivations[table]


def gold_work(table: TableId) -> Callable[[GovernedRun], Iterator[Written]]:
    """The work of a gold asset: derive, judge, publish; nothing where its inputs and its code are as they were."""

    def work(run: GovernedRun) -> Iterator[Written]:
        house, how = run.platform.lakehouse, derivations[table]
        with house.writing(table):
            note = DerivedFrom.of(run.platform, table)
            versions = {name: run.versions[name].version for name in how.inputs}
            now = {WHOLE: digest(code_digest(how.contract, how.transform), versions)}
            if not note.changed(now) and not run.recomputes:
                yield unchanged(run, how.contract)
                return
            rows, columns = how.rows({name: run.input(name) for name in how.inputs})
            found = judged(run, how.contract, rows, {}, columns=columns)
            wrote = written(run, how.contract, found)
            if not found.verdict.passed or found.verdict.rows_quarantined:
                yield wrote
                raise found.verdict.refuse()
            good = found.staged.select(columns)
            at = house.commit(table, good, Overwrite(), metadata=commit_metadata(run))
            note.note(now, version=at.version)
        wrote.dataset = at_version(wrote.dataset, at, good)
        yield wrote

    return work
