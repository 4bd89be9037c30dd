"""An upkeep asset: what it did to each table, as Dagster shows it, and the commit metadata that names its run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import dagster as dg

from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.upkeep.maintenance import Upkept, totals

_ROW = dg.TableSchema(
    [
        dg.TableColumn("name", "string"),
        dg.TableColumn("files_before", "int"),
        dg.TableColumn("files_after", "int"),
        dg.TableColumn("bytes_freed", "int"),
        dg.TableColumn("rows_deleted", "int"),
        dg.TableColumn("words", "string"),
    ]
)


def told(run: GovernedRun) -> dict[str, str]:
    """What a commit of this run is told; it names no inputs, since it brings no rows."""
    return {"run_id": run.run_id, "asset": run.declaration.name}


def written(run: GovernedRun, done: Sequence[Upkept]) -> Written:
    """The figures of an upkeep run: a row for each table that was touched, and their totals."""
    rows = [dg.TableRecord(dataclasses.asdict(part)) for part in done]
    found = {"figures": dg.MetadataValue.table(rows, schema=_ROW) if rows else "nothing to do"}
    return Written(Dataset(run.declaration.name, owner=run.declaration.owner), {**totals(done), **found})
