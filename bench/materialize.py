"""Filling an empty online store against `feast materialize` with stock Feast, from the same file; SQLite and Redis.

`python -m bench.materialize --entities 1000000 --features 50 --ours` measures another size, without the peer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.feature_rows import write
from bench.pairs import Row
from pipelines.settings import PROJECT, Settings

#: Store, entities and features of each measurement.
SIZES = (("SQLite", 10_000, 10), ("SQLite", 10_000, 50), ("Redis", 10_000, 50), ("SQLite", 10_000, 250))


def measure(settings: Settings) -> list[Row]:
    return [row for size in SIZES for row in measure_size(settings, *size)]


def measure_size(settings: Settings, store: str, entities: int, features: int, *, peer: bool = True) -> list[Row]:
    """Rows a second, CPU and peak memory of both sides, each once in a process of its own."""
    settings.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.root) as folder:
        file = Path(folder) / "rows.parquet"
        write(file, entities, features)
        ours, feast = _run("ours", store, file, features), _run("feast", store, file, features) if peer else None
    name, note = f"{store}, {entities:,} x {features}", "one run each, two rows for each entity in the file"
    rate, memory = f"{entities / ours['seconds']:,.0f} rows/s", f"{ours['peak_memory_mb']:,.0f} MB"
    if feast is None:
        return [Row(f"materialize {name}", f"{rate}, {memory}", "", None, note)]
    return [
        Row(
            f"materialize {name}: seconds (aim 0.2)",
            f"{ours['seconds']:.1f} s, {rate}",
            f"{feast['seconds']:.1f} s",
            ours["seconds"] / feast["seconds"],
            note,
        ),
        Row(
            f"materialize {name}: CPU",
            f"{ours['cpu_seconds']:.2f} s",
            f"{feast['cpu_seconds']:.2f} s",
            ours["cpu_seconds"] / feast["cpu_seconds"],
        ),
        Row(
            f"materialize {name}: peak memory",
            memory,
            f"{feast['peak_memory_mb']:,.0f} MB",
            ours["peak_memory_mb"] / feast["peak_memory_mb"],
            "ours with the engine in the same process",
        ),
    ]


def _run(side: str, store: str, file: Path, features: int) -> dict[str, Any]:
    from tests.servers import redis

    command = [sys.executable, "-m", "bench.materialize_once", side, str(file), str(features)]
    if store == "SQLite":
        return json.loads(subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True).stdout)
    with redis.running(file.parent / f"redis-{side}") as server:
        command += ["--redis", server.feast]
        return json.loads(subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.materialize", description=__doc__)
    parser.add_argument("--store", choices=("SQLite", "Redis"), default="SQLite")
    parser.add_argument("--entities", type=int, required=True)
    parser.add_argument("--features", type=int, required=True)
    parser.add_argument("--ours", action="store_true", help="without the peer")
    options = parser.parse_args()
    for row in measure_size(Settings(), options.store, options.entities, options.features, peer=not options.ours):
        print(row)


if __name__ == "__main__":
    main()
