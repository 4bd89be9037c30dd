"""Governed bronze to silver of flights, against the bare engine doing the same casts, columns and partitioned write.

The governed side is the whole asset run: pinned versions, verdict and quarantine, the audit, commit, lineage, cost, the
Great Expectations result. Dagster's own events are told apart. Both sides read the same bronze table, warm.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from bench.pairs import Row
from pipelines.governed import PLATFORM
from pipelines.settings import Settings
from pipelines.tables import PARTITION, TableId

ROUNDS = 3
DAYS = ("2013-01-01", "2013-12-31")


def measure(settings: Settings) -> list[Row]:
    from assets.flights import arrivals, bronze, silver
    from pipelines.definitions import all_contracts
    from pipelines.resources import Platform

    home = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    platform = Platform(settings.model_copy(update={"home": home, "lakehouse_uri": None}), all_contracts)
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            first, last = (date.fromisoformat(day) for day in DAYS)
            arrivals.land(platform.landing, start=first, end=last, database=home / "operations.db")
            lists = [getattr(zone, name) for zone in (bronze, silver) for name in ("airlines", "airports", "planes")]
            _run(platform, instance, [*lists, bronze.flights])
            _run(platform, instance, [silver.flights])
            _bare(platform, home)
            runs = [(*_run(platform, instance, [silver.flights]), _bare(platform, home)) for _ in range(ROUNDS)]
        rows = platform.lakehouse.rows(platform.lakehouse.current(TableId("silver", "flights", "flights")))
        governed, events, bare = (statistics.median(values) for values in zip(*runs, strict=True))
        ratio = statistics.median(g / b for g, _, b in runs)
        note = f"{rows:,} rows, 365 days in one run; aim 1.5"
        return [
            Row("bronze to silver, governed / bare engine", f"{governed:.2f} s", f"{bare:.2f} s", ratio, note),
            Row("  Dagster's events beside it", f"{events:.2f} s", "", None, "2,190 outputs in memory storage"),
        ]
    finally:
        platform.close()
        shutil.rmtree(home, ignore_errors=True)


def _run(platform: Any, instance: dg.DagsterInstance, assets: list[dg.AssetsDefinition]) -> tuple[float, float]:
    """Seconds of the asset runs, and of everything else that Dagster did."""
    tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[1]}
    begun = time.perf_counter()
    result = dg.materialize(
        assets,
        instance=instance,
        tags=tags,
        resources={PLATFORM: dg.ResourceDefinition.hardcoded_resource(platform)},
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    wall = time.perf_counter() - begun
    own = {}
    for event in result.get_asset_materialization_events():
        metadata = event.materialization.metadata
        if "seconds" in metadata:
            own[event.asset_key] = float(str(metadata["seconds"].value))
    return sum(own.values()), wall - sum(own.values())


def _bare(platform: Any, home: Path) -> float:
    from assets.flights.silver import flights_with_instants
    from assets.flights.tables import contract

    house, found = platform.lakehouse, contract("silver/flights")
    target = home / "bare"
    shutil.rmtree(target, ignore_errors=True)
    begun = time.perf_counter()
    from pyspark.sql import functions as F

    raw = house.read(house.current(TableId("bronze", "flights", "flights")))
    cast = []
    for column in found.columns:
        if column.source and column.source in raw.columns:
            text = F.when(~F.col(column.source).isin(*found.null_tokens), F.col(column.source))
            cast.append((text if column.type == "string" else text.try_cast(column.type)).alias(column.name))
    named = {column.name for column in found.columns if column.source in raw.columns}
    rest = [F.col(name) for name in raw.columns if name not in named]
    airports = house.read(house.current(TableId("silver", "flights", "airports")))
    rows = flights_with_instants(raw.select(*cast, *rest), airports)
    rows = rows.select(*[column.name for column in found.columns], "_record_id", PARTITION)
    rows.repartition(PARTITION).write.partitionBy(PARTITION).parquet(str(target))
    return time.perf_counter() - begun
