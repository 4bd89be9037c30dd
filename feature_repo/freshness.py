"""How fresh an online store is: the seconds from when data was durable until the store answered with it.

A delivery is durable when its file was last written to landing, by the clock of landing's store. It is readable when
the filling that moved the store to its rows has ended, by this machine's clock. Which deliveries a filling made
readable follows from the versions of its tables: each names the versions that it was derived from, down to the bronze
tables, whose batches the ledger lists. A delivery counts whether or not its rows were clean.

A pushed event is durable when its log was synced to the disk, and readable when its row is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from feature_repo.freshness_log import Measurement, log, record
from feature_repo.state import DomainStore
from pipelines.errors import NotFoundError
from pipelines.features.declaration import FeatureView
from pipelines.governed.platform import Platform
from pipelines.lakehouse import time_travel
from pipelines.medallion.bronze import INGEST
from pipelines.tables import TableId, TableVersion

#: How many of the newest commits of a table are read at first.
_NEWEST = 20


def measure(
    platform: Platform, place: DomainStore, views: Sequence[FeatureView], versions: Mapping[str, TableVersion]
) -> list[Measurement]:
    """What the filling that has just ended made readable, by view. It is added to the log of the domain.

    The first filling of a view measures nothing: its deliveries waited for the store to be declared.

    Args:
        platform: Where the tables and ledgers are.
        place: The domain's store.
        views: The views of the store.
        versions: The versions that it was filled from, by Feast source name.
    """
    before = {m.view: m.batches for m in log(place) if m.way == "filled"}
    now, measured = datetime.now(UTC).timestamp(), []
    for view in views:
        batches = batches_of(platform, versions[view.table.source_name])
        seconds = [
            now - landed_at
            for name, last in batches.items()
            if name in before.get(view.stored_name, {})
            for landed_at in platform.ledger(TableId.parse(name)).landed(
                after=before[view.stored_name][name], until=last
            )
        ]
        measured.append(Measurement.of(view.stored_name, "filled", seconds, batches))
    record(place, measured)
    return measured


def batches_of(platform: Platform, at: TableVersion) -> dict[str, int]:
    """The bronze tables that a version was derived from, each with the number of the last batch that is in it."""
    batches: dict[str, int] = {}
    waiting, known = [at], {at}
    while waiting:
        version = waiting.pop()
        if version.table.zone == "bronze":
            with contextlib.suppress(NotFoundError):  # upkeep removed the version
                name, last = str(version.table), platform.lakehouse.snapshot(version).batch(INGEST)
                batches[name] = min(last, batches.get(name, last))
        else:
            new = set(_inputs(platform, version)) - known
            known |= new
            waiting += new
    return batches


def _inputs(platform: Platform, at: TableVersion) -> list[TableVersion]:
    """The versions that a version was derived from; none if its log does not hold the commit any more."""
    for newest in (_NEWEST, None):
        try:
            commit = time_travel.made_by(time_travel.commits(platform.lakehouse, at.table, newest=newest), at)
        except NotFoundError:  # a table of another lakehouse
            return []
        if commit:
            return list((commit.inputs or {}).values())
    return []
