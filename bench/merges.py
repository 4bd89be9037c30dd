"""200 small merges into a table of a million rows: the last twenty against the first twenty.

For each merge a file lands, bronze takes it, and silver judges it and merges it by key. Half of its rows have a new
key, half update a row.
"""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg

from bench.pairs import Row, seconds
from bench.scaled import contract_of, materialize, unchanged
from pipelines.contracts.model import Contract
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.settings import Settings

BASE, MERGES, ROWS, ENDS = 1_000_000, 200, 500, 20
COLUMNS = {"id": "string", "at": "integer", "value": "number"}


def measure(settings: Settings) -> list[Row]:
    home = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    platform = Platform(settings.model_copy(update={"home": home, "lakehouse_uri": None}), dict)
    generator = random.Random(7)
    try:
        bronze, silver = (_contract(platform, home, zone) for zone in ("bronze", "silver"))
        assets = [bronze_asset(bronze), silver_asset(silver)(unchanged)]
        with dg.DagsterInstance.ephemeral() as instance:
            _land(platform, 0, range(BASE))
            materialize(platform, instance, assets)
            durations = []
            for number in range(1, MERGES + 1):
                new = range(BASE + number * ROWS, BASE + number * ROWS + ROWS // 2)
                _land(platform, number, [*new, *generator.sample(range(BASE), ROWS // 2)])
                durations.append(seconds(lambda: materialize(platform, instance, assets)))
        first, last = statistics.median(durations[:ENDS]), statistics.median(durations[-ENDS:])
        rows = platform.lakehouse.snapshot(silver.table).rows
        note = f"{rows:,} rows at the end, {ROWS} rows a merge, no upkeep between merges; aim 1.5"
        return [
            Row(f"merge {MERGES}, last {ENDS} / first {ENDS}", f"{last:.2f} s", f"{first:.2f} s", last / first, note)
        ]
    finally:
        platform.close()
        shutil.rmtree(home, ignore_errors=True)


def _contract(platform: Platform, folder: Path, zone: str) -> Contract:
    properties: list[dict[str, Any]] = [
        {"name": name, "logicalType": kind, "description": name} for name, kind in COLUMNS.items()
    ]
    properties[0] |= {"primaryKey": True, "primaryKeyPosition": 1, "required": True}
    winner = {"winner": "at desc, _ingest_id desc"} if zone == "silver" else {}
    return contract_of(platform, folder, f"{zone}/bench/readings", properties, **winner)


def _land(platform: Platform, number: int, ids: Iterable[int]) -> None:
    """Delivers one file with a reading for each id."""
    lines = "".join(f"r{n:09d},{number},{n % 997}.5\n" for n in ids)
    content = f"id,at,value\n{lines}".encode()
    platform.landing.deliver(
        domain="bench",
        source="readings",
        interval=f"2013-01-{1 + number % 28:02d}",
        name=f"{number:04d}.csv",
        content=content,
    )
