"""What a process that follows domains does next: one run over what hangs on their new deliveries.

A sensor's run starts a process, which takes longer than a small run itself. A process that stays up, with its engine,
takes a delivery seconds after it landed. Its runs are like a sensor's in all else: governed, in the same Dagster
instance, each table under its lock, so that a sensor that is on as well takes nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from pipelines.governed.platform import Platform
from pipelines.orchestration.jobs import stages
from pipelines.orchestration.members import Members
from pipelines.orchestration.new_deliveries import coverable, digest, fresh_deliveries, watched
from pipelines.orchestration.runs import range_tags
from pipelines.tables import TableId


@dataclass(frozen=True, slots=True)
class Batch:
    """New deliveries, and the run that takes them.

    Attributes:
        deliveries: How many there are of each bronze table.
        assets: These tables, and the tables and online features that are computed from them.
        tags: Of the run: the range of days of deliveries of tables by day.
        key: A digest of the files.
    """

    deliveries: Mapping[TableId, int]
    assets: frozenset[dg.AssetKey]
    tags: Mapping[str, str]
    key: str

    def __str__(self) -> str:
        return ", ".join(f"{table}: {number}" for table, number in self.deliveries.items())


def next_batch(platform: Platform, followed: Sequence[Members]) -> Batch | None:
    """The deliveries of these domains that no run took, with what hangs on them; None if there are none."""
    new, days = {}, set()
    for found in followed:
        at = watched(found, ())
        for table, deliveries in fresh_deliveries(platform, at.tables).items():
            if taken := coverable(deliveries, at.daily.get(table)):
                new[table] = taken
                days |= {delivery.interval for delivery in taken} if table in at.daily else set()
    key = digest(new.values())
    if key is None:
        return None
    return Batch(
        deliveries={table: len(deliveries) for table, deliveries in new.items()},
        assets=_downstream({dg.AssetKey(table.key) for table in new}, followed, by_day=bool(days)),
        tags=range_tags(days) if days else {},
        key=key,
    )


def _downstream(roots: set[dg.AssetKey], followed: Sequence[Members], *, by_day: bool) -> frozenset[dg.AssetKey]:
    """These assets, and the tables and online features that are computed from them; no training set and no model.

    Without `by_day` no table by day is among them: a run that covers no day cannot hold one.
    """
    followable = {key for found in followed for at in [stages(found)] for key in at.tables | at.events | at.features}
    parents = {
        spec.key: {dep.asset_key for dep in spec.deps}
        for found in followed for spec in found.specs
        if spec.key in followable and (by_day or spec.partitions_def is None)
    }  # fmt: skip
    reached = set(roots)
    while more := {key for key, above in parents.items() if above & reached} - reached:
        reached |= more
    return frozenset(reached)
