"""A program of test_full_disk.py: ingests onto a disk that is full at one step after the other, and prints a report.

Its arguments are the mount point of a small file system, which it resizes (`mount -o remount,size=…`), and a folder on
another file system.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.end_to_end.two_sources import TABLES, Ingestion, assets

MIB = 2**20
#: The size of the large file of parts, in random hexadecimal digits, which compression cannot make much smaller.
DIGITS = 3_000_000


class Disk:
    """A small file system that is resized."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.enlarge()

    def enlarge(self) -> None:
        self._resize(64 * MIB)

    def leave_free(self, free_bytes: int) -> None:
        """Shrinks it to what is used and some free bytes."""
        usage = os.statvfs(self.path)
        self._resize((usage.f_blocks - usage.f_bfree) * usage.f_frsize + free_bytes)

    def _resize(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)


def large_file() -> str:
    """Parts with long random names, which take as much space in a table as in their file."""
    generator = random.Random(2013)
    lines = "".join(f"{generator.randbytes(500).hex()},{1 + n},1\n" for n in range(DIGITS // 1000))
    return f"part,holes,weight\n{lines}"


def run_on_full_disk(
    disk: Disk, ingestion: Ingestion, run: Callable[[], list[str]], *, free_bytes: int
) -> dict[str, Any]:
    """Runs with only so many free bytes, then enlarges the disk.

    Returns:
        `failures`: the errors of the run; `unchanged`: whether all tables are as before; `leftovers`: unfinished files.
    """
    before = ingestion.contents()
    disk.leave_free(free_bytes)
    failures = run()
    report = {
        "failures": failures,
        "unchanged": ingestion.contents() == before,
        "leftovers": ingestion.leftovers(),
    }
    disk.enlarge()
    return report


def main(small: Path, beside: Path) -> None:
    disk = Disk(small)
    bronze, silver = assets().parts
    ingestion = Ingestion(beside / "home", lakehouse_uri=str(small / "lakehouse"))
    reference = Ingestion(beside / "reference")
    reference.platform.engine = ingestion.platform.engine
    for home in (ingestion, reference):
        home.arrive(0)
        assert home.run() == []
        home.arrive(1)
        home.land("0-large", large_file())
    report = {
        "ledger": run_on_full_disk(disk, ingestion, ingestion.run, free_bytes=0),
        "bronze": run_on_full_disk(disk, ingestion, lambda: ingestion.materialize([bronze]), free_bytes=MIB),
    }
    assert ingestion.materialize([bronze]) == []
    report["silver"] = run_on_full_disk(disk, ingestion, lambda: ingestion.materialize([silver]), free_bytes=MIB)
    for home in (ingestion, reference):
        assert home.run() == []
    report["equal"] = {table: ingestion.contents()[table] == reference.contents()[table] for table in TABLES}
    report["landing"] = land_on_full_disk(disk, beside, ingestion)
    ingestion.platform.close()
    print(json.dumps(report))


def land_on_full_disk(disk: Disk, beside: Path, reference: Ingestion) -> dict[str, Any]:
    """The same report for a landing zone on the small disk, whose space does not suffice for the source's files."""
    ingestion = Ingestion(beside / "landing", landing_uri=str(disk.path / "landing"))
    ingestion.platform.engine = reference.platform.engine
    ingestion.arrive(0)
    assert ingestion.run() == []
    ingestion.arrive(1)
    report = run_on_full_disk(disk, ingestion, lambda: ingestion.materialize(assets().orders[:1]), free_bytes=0)
    assert ingestion.run() == []
    orders = "silver/toys/orders"
    return report | {"equal": ingestion.contents()[orders] == reference.contents()[orders]}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
