"""A program of test_bounded_memory.py: takes one file from landing into bronze, and prints how much memory that took.

Its arguments are a home folder and the kind of file: `small`, `jsonl`, `bomb` or `line`.
"""

from __future__ import annotations

import gzip
import json
import resource
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset
from pipelines.orchestration.runs import QUIET_LOG
from pipelines.settings import Settings
from tests.pipelines import toy_contracts

MIB = 2**20
#: A value that takes ten kilobytes as text, and almost nothing in compressed form.
LONG = "x" * 10_000
ROW = json.dumps({"part": LONG, "holes": 1, "weight": 2.5}) + "\n"


def small(path: Path) -> int:
    """Writes one row; like the other kinds, returns the number of rows."""
    path.write_text(ROW, encoding="utf-8")
    return 1


def jsonl(path: Path) -> int:
    """Writes 300 MiB of JSON lines."""
    block, times = ROW * 1_000, 300 * MIB // (len(ROW) * 1_000)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(times):
            file.write(block)
    return times * 1_000


def bomb(path: Path) -> int:
    """Writes about 1 MiB that unpacks to 1 GiB of CSV: many archives after one another, as gzip allows."""
    lines = f"{LONG},1,2.5\n" * 1_000
    times = 2**30 // len(lines)
    path.write_bytes(gzip.compress(b"part,holes,weight\n") + gzip.compress(lines.encode(), 9) * times)
    return 1_000 * times


def line(path: Path) -> int:
    """Writes a line of 2 GiB, most of it a hole in the file, and a row after it."""
    with path.open("wb") as file:
        file.write(b'{"part": "')
        file.truncate(2 * 2**30)
        file.seek(0, 2)
        file.write(b"\n" + ROW.encode())
    return 2


def main(home: Path, kind: str) -> None:
    home.mkdir(parents=True)
    columns = [toy_contracts.text(name) for name in ("part", "holes", "weight")]
    contract = toy_contracts.contract(home, "bronze/toys/huge", columns, format="csv" if kind == "bomb" else "jsonl")
    platform = Platform(Settings(home=home, profile="test"), lambda: {contract.table: contract})
    folder = home / "landing" / "toys" / "huge" / "dt=2013-01-01"
    folder.mkdir(parents=True)
    path = folder / "huge"
    rows = {"small": small, "jsonl": jsonl, "bomb": bomb, "line": line}[kind](path)
    report: dict[str, Any] = {"landed_bytes": path.stat().st_size, "rows": rows}
    dg.materialize(
        [bronze_asset(contract)],
        resources={PLATFORM: dg.ResourceDefinition.hardcoded_resource(platform)},
        run_config=QUIET_LOG,
    )
    path.unlink()
    snapshot = platform.lakehouse.snapshot(contract.table)
    report["bronze_rows"] = snapshot.rows
    report["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if kind == "line":
        rescued = snapshot.arrow(columns=["_rescued"])["_rescued"].to_pylist()
        report["rescued"] = [value and value[:40] + value[-60:] for value in rescued]
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
