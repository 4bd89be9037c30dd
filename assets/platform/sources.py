"""Which sources land, and whether each has a contract."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from assets.platform.domain import platform
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.medallion import unknown_sources

KEY = ("ops", "platform", "sources")


@governed_asset(
    key=KEY,
    kind="ops",
    owner=platform.owner,
    tags=platform.cost.of("upkeep"),
    kinds=("json",),
    checks=(unknown_sources.CHECK,),
)
def sources(run: GovernedRun) -> Iterator[Written]:
    """The sources that land without a contract, each treated by its domain's drift mode for tables.

    Grain: one figure row per source that no contract describes.
    """
    unknown = unknown_sources.treat(run)
    rows = [
        dg.TableRecord({"source": f"{u.domain}/{u.source}", "mode": u.mode, "deliveries": u.deliveries, "rows": u.rows})
        for u in unknown
    ]
    metadata = {"unknown": len(unknown), "sources": dg.MetadataValue.table(rows) if rows else "each has its contract"}
    dataset = Dataset(run.declaration.name, run.run_id, run.declaration.owner, rows=len(unknown))
    yield Written(dataset, metadata, (unknown_sources.check_result(unknown, list(KEY)),))
