"""Freshness in micro-batches: from a delivery's last write to landing until its rows are readable online.

One process stays up and materializes landing's deliveries to bronze, silver, gold and the online store, run after run,
each governed. The next delivery lands when the run has ended; half of its rows move an entity, half bring a new one.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from bench.pairs import Row
from bench.scaled import contract_of, materialize, unchanged
from feature_repo.assets import online_asset
from feature_repo.freshness_log import log, summary
from feature_repo.state import DomainStore
from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.contracts.model import Contract
from pipelines.features.declaration import FeatureService, feature_view
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, gold_asset, silver_asset
from pipelines.settings import Settings

BASE, BATCHES, ROWS = 10_000, 40, 500
COLUMNS = {"id": "string", "event_timestamp": "timestamp", "value": "number"}


def measure(settings: Settings) -> list[Row]:
    home = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    platform = Platform(settings.model_copy(update={"home": home, "lakehouse_uri": None}), dict)
    generator = random.Random(7)
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            assets = _assets(platform, home)
            for number in range(BATCHES + 1):
                new = BASE + number * ROWS
                moved = generator.sample(range(BASE), ROWS // 2)
                _land(platform, number, [*range(new, new + ROWS // 2), *moved] if number else range(BASE))
                result = materialize(platform, instance, assets)
        place = DomainStore(platform.settings, "bench")
        found = summary(log(place))
        assert result.success, "the last run failed"
        assert found.count == BATCHES, f"{found.count} deliveries were measured"
        note = f"{BATCHES} deliveries of {ROWS} rows, {BASE:,} entities before, each a governed run of four assets"
        figures = f"{found.p50:.2f}, {found.p99:.2f} s"
        return [Row("delivery durable in landing to readable online p50, p99 (aim p99 5 s)", figures, "", None, note)]
    finally:
        platform.close()
        shutil.rmtree(home, ignore_errors=True)


def _assets(platform: Platform, home: Path) -> list[dg.AssetsDefinition]:
    bronze, silver, gold = (_contract(platform, home, zone) for zone in ("bronze", "silver", "gold"))
    domain = Domain("bench", "bench", CostTags("bench", "bench", "bench", "bench"), Contracts({gold.table: gold}))
    service = FeatureService("readings_v1", "bench", (feature_view(gold),), "The last reading.", "bench")
    return [
        bronze_asset(bronze),
        silver_asset(silver)(unchanged),
        gold_asset(gold, inputs={"readings": str(silver.table)})(_known),
        online_asset(domain, [service]),
    ]


def _known(readings: Any) -> Any:
    """Readings by sensor, known when they were made. Grain: one row per sensor and instant."""
    return readings.select(*COLUMNS, "_record_id")


def _contract(platform: Platform, folder: Path, zone: str) -> Contract:
    properties: list[dict[str, Any]] = [
        {"name": name, "logicalType": kind, "description": name} for name, kind in COLUMNS.items()
    ]
    for position, entry in enumerate(properties[:2], 1):
        entry |= {"primaryKey": True, "primaryKeyPosition": position, "required": True}
    return contract_of(platform, folder, f"{zone}/bench/readings", properties)


def _land(platform: Platform, number: int, ids: Iterable[int]) -> None:
    """Delivers one file with a reading, made now, of each sensor."""
    now = datetime.now(UTC)
    lines = "".join(f"r{n:09d},{now.isoformat()},{n % 997}.5\n" for n in ids)
    platform.landing.deliver(
        domain="bench", source="readings", interval=f"{now:%F}", name=f"{number:04d}.csv",
        content=f"id,event_timestamp,value\n{lines}".encode(),
    )  # fmt: skip
