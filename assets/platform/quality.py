"""The pages that show how well each table kept its contract."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from assets.platform.domain import platform
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.quality.data_docs import data_docs as build


@governed_asset(
    key=("ops", "platform", "data_docs"),
    kind="ops",
    owner=platform.owner,
    tags=platform.cost.of("upkeep"),
    kinds=("greatexpectations",),
)
def data_docs(run: GovernedRun) -> Iterator[Written]:
    """Great Expectations' Data Docs: the rules of each table, and how well its newest versions kept them.

    Grain: one page per table, and one per recorded verdict.
    """
    page = build(run.platform.settings.root / "quality")
    pages = sum(1 for _ in page.parent.rglob("*.html"))
    dataset = Dataset(run.declaration.name, run.run_id, run.declaration.owner, rows=pages)
    yield Written(dataset, {"pages": pages, "index": dg.MetadataValue.path(str(page))})
