"""Many files of one row each, taken by bronze: `python -m bench.tiny_files --files 100000` prints JSON."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from pipelines.contracts import load
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset
from pipelines.settings import Settings

#: A day's folder holds this many files.
FILES_PER_DAY = 50_000
COLUMNS = ("part", "holes", "weight")
CONTRACT: dict[str, Any] = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "tiny",
    "version": "1.0.0",
    "status": "active",
    "domain": "bench",
    "description": {"purpose": "One row in each file."},
    "team": {"name": "bench"},
    "servers": [{"server": "landing", "type": "local", "path": "bench/tiny/dt=*/*", "format": "csv"}],
    "schema": [
        {
            "name": "tiny",
            "physicalName": "bronze/bench/tiny",
            "dataGranularityDescription": "One row per file.",
            "properties": [{"name": name, "logicalType": "string", "description": f"The {name}."} for name in COLUMNS],
        }
    ],
    "slaProperties": [
        {"property": "freshness", "value": 1, "unit": "d"},
        {"property": "retention", "value": 1, "unit": "y"},
    ],
    "customProperties": [
        {
            "property": "tags",
            "value": {
                "cost_centre": "bench",
                "business_unit": "bench",
                "project": "bench",
                "application": "bench",
                "workload_class": "ingestion",
                "data_class": "internal",
            },
        },
        {"property": "drift", "value": {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"}},
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tiny_files", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="how many, 100,000 if not told")
    parser.add_argument("--folder", type=Path, help="where they are written for as long as it runs")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="goldpath-bench-", dir=chosen.folder))
    try:
        json.dump(measure(folder, chosen.files), sys.stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, files: int) -> dict[str, Any]:
    """Seconds of the first run and of one with nothing new, the peak of memory in MiB, and what the table became."""
    path = folder / "bronze_tiny.yaml"
    path.write_text(yaml.safe_dump(CONTRACT), encoding="utf-8")
    contract = load.load(path)
    platform = Platform(Settings(home=folder, profile="test"), lambda: {contract.table: contract})
    for number in range(files):
        day = folder / "landing" / "bench" / "tiny" / f"dt=day-{number // FILES_PER_DAY:04d}"
        if number % FILES_PER_DAY == 0:
            day.mkdir(parents=True)
        (day / f"{number:08d}.csv").write_text(f"part,holes,weight\npart {number},1,2.5\n", encoding="utf-8")
    asset, seconds = bronze_asset(contract), []
    for _ in range(2):
        begun = time.perf_counter()
        dg.materialize(
            [asset],
            resources={PLATFORM: dg.ResourceDefinition.hardcoded_resource(platform)},
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
        seconds.append(round(time.perf_counter() - begun, 1))
    house = platform.lakehouse
    at = house.current(contract.table)
    assert house.snapshot(at).rows == files
    return {
        "files": files,
        "seconds": seconds[0],
        "nothing_new_seconds": seconds[1],
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "batches": len(platform.ledger(contract.table).batches()),
        "table_files": len(house.snapshot(at).files),
    }


if __name__ == "__main__":
    main()
