"""Measures how bronze takes many files of one row: `python -m bench.tiny_files --files 100000` prints JSON."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from pipelines.contracts import load
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset
from pipelines.orchestration.runs import QUIET_LOG
from pipelines.settings import Settings

#: The number of files in the folder of a day.
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
    parser.add_argument("--files", type=int, default=100_000, help="the number of files. [default: 100000]")
    parser.add_argument("--folder", type=Path, help="the folder of the temporary files. [default: the system's]")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="goldpath-bench-", dir=options.folder))
    try:
        json.dump(measure(folder, options.files), sys.stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, files: int) -> dict[str, Any]:
    """Seconds of the first run and of one with nothing new, of CPU too; peak memory in MiB; batches and files."""
    path = folder / "bronze_tiny.yaml"
    path.write_text(yaml.safe_dump(CONTRACT), encoding="utf-8")
    contract = load.load(path)
    platform = Platform(Settings(home=folder, profile="test"), lambda: {contract.table: contract})
    for number in range(files):
        day = folder / "landing" / "bench" / "tiny" / f"dt={date(2013, 1, 1) + timedelta(days=number // FILES_PER_DAY)}"
        if number % FILES_PER_DAY == 0:
            day.mkdir(parents=True)
        (day / f"{number:08d}.csv").write_text(f"part,holes,weight\npart {number},1,2.5\n", encoding="utf-8")
    asset, seconds, cpu_seconds = bronze_asset(contract), [], []
    for _ in range(2):
        started, cpu_started = time.perf_counter(), time.process_time()
        dg.materialize(
            [asset],
            resources={PLATFORM: dg.ResourceDefinition.hardcoded_resource(platform)},
            run_config=QUIET_LOG,
        )
        seconds.append(round(time.perf_counter() - started, 1))
        cpu_seconds.append(round(time.process_time() - cpu_started, 2))
    snapshot = platform.lakehouse.snapshot(contract.table)
    assert snapshot.rows == files
    return {
        "files": files,
        "seconds": seconds[0],
        "cpu_seconds": cpu_seconds[0],
        "nothing_new_seconds": seconds[1],
        "nothing_new_cpu_seconds": cpu_seconds[1],
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "batches": len(platform.ledger(contract.table).batches()),
        "table_files": len(snapshot.files),
    }


if __name__ == "__main__":
    main()
