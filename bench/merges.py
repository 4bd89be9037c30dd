"""200 small merges into a table of a million rows: the last twenty against the first twenty.

Each is the whole way: a file lands, bronze takes it, silver judges it and merges it by key. Half of the rows correct
rows that are there.
"""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from bench.pairs import Row, seconds
from bench.scaled import declared, materialized
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.settings import Settings

BASE, MERGES, ROWS, ENDS = 1_000_000, 200, 500, 20
COLUMNS = {"id": "string", "at": "integer", "value": "number"}


def measure(settings: Settings) -> list[Row]:
    home = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    platform = Platform(settings.model_copy(update={"home": home, "lakehouse_uri": None}), dict)
    chance = random.Random(7)
    try:
        contracts = [_contract(platform, home, zone) for zone in ("bronze", "silver")]
        assets = [bronze_asset(contracts[0]), silver_asset(contracts[1])(_unchanged)]
        with dg.DagsterInstance.ephemeral() as instance:
            _land(platform, 0, range(BASE))
            materialized(platform, instance, assets)
            took = []
            for number in range(1, MERGES + 1):
                fresh = range(BASE + number * ROWS, BASE + number * ROWS + ROWS // 2)
                _land(platform, number, [*fresh, *chance.sample(range(BASE), ROWS // 2)])
                took.append(seconds(lambda: materialized(platform, instance, assets)))
        first, last = statistics.median(took[:ENDS]), statistics.median(took[-ENDS:])
        rows = platform.lakehouse.snapshot(contracts[1].table).rows
        note = f"{rows:,} rows at the end, {ROWS} rows a merge, no upkeep between; aim 1.5"
        return [
            Row(f"merge {MERGES}, last {ENDS} / first {ENDS}", f"{last:.2f} s", f"{first:.2f} s", last / first, note)
        ]
    finally:
        platform.close()
        shutil.rmtree(home, ignore_errors=True)


def _contract(platform: Platform, folder: Path, zone: str) -> Any:
    properties: list[dict[str, Any]] = [
        {"name": name, "logicalType": kind, "description": name} for name, kind in COLUMNS.items()
    ]
    properties[0] |= {"primaryKey": True, "primaryKeyPosition": 1, "required": True}
    return declared(platform, folder, f"{zone}/bench/readings", properties, winner="at desc, _ingest_id desc")


def _land(platform: Platform, number: int, ids: Any) -> None:
    lines = "".join(f"r{n:09d},{number},{n % 997}.5\n" for n in ids)
    content = f"id,at,value\n{lines}".encode()
    platform.landing.deliver(
        domain="bench",
        source="readings",
        interval=f"2013-01-{1 + number % 28:02d}",
        name=f"{number:04d}.csv",
        content=content,
    )


def _unchanged(rows: Any) -> Any:
    """Readings, as they stand."""
    return rows
