"""What an upkeep asset shows in Dagster, and the metadata of its commits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import dagster as dg

from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.upkeep.maintenance import UpkeepResult, totals

_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("name", "string"),
        dg.TableColumn("files_before", "int"),
        dg.TableColumn("files_after", "int"),
        dg.TableColumn("bytes_freed", "int"),
        dg.TableColumn("rows_deleted", "int"),
        dg.TableColumn("words", "string"),
    ]
)


def commit_metadata(run: GovernedRun) -> dict[str, str]:
    """What a commit of an upkeep run records: the run and the asset, but no inputs, because it adds no rows."""
    return {"run_id": run.run_id, "asset": run.declaration.name}


def written(run: GovernedRun, results: Sequence[UpkeepResult]) -> Written:
    """The metadata of an upkeep run: one row for each result, and the totals."""
    records = [dg.TableRecord(dataclasses.asdict(result)) for result in results]
    figures = {"figures": dg.MetadataValue.table(records, schema=_SCHEMA) if records else "nothing to do"}
    return Written(Dataset(run.declaration.name, owner=run.declaration.owner), {**totals(results), **figures})
