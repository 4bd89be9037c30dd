"""A program for the tests: ingests onto a disk that is full at one step after the other, and says what happened.

Its arguments are a small file system of its own that it may resize (`mount -o remount,size=…`), and a folder beside it.
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

from tests.end_to_end.two_roads import TABLES, Ingestion, assets

MIB = 2**20
#: Random digits, which no compression makes small: this many of each part.
DIGITS = 3_000_000


class Disk:
    """A small file system whose size is set to what is used and some bytes more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.enlarge()

    def enlarge(self) -> None:
        self._resize(64 * MIB)

    def leave(self, room: int) -> None:
        found = os.statvfs(self.path)
        self._resize((found.f_blocks - found.f_bfree) * found.f_frsize + room)

    def _resize(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)


def big() -> str:
    """Parts whose names take as much room in a table as in their file."""
    pick = random.Random(2013)
    lines = "".join(f"{pick.randbytes(500).hex()},{1 + n},1\n" for n in range(DIGITS // 1000))
    return f"part,holes,weight\n{lines}"


def disturbed(disk: Disk, ingestion: Ingestion, work: Callable[[], list[str]], *, room: int) -> dict[str, Any]:
    """What a run says that finds only so much room, whether it left everything as it was, and what is left over."""
    before = ingestion.seen()
    disk.leave(room)
    failures = work()
    found = {"failures": failures, "kept": ingestion.seen() == before, "litter": ingestion.litter()}
    disk.enlarge()
    return found


def main(small: Path, beside: Path) -> None:
    disk, made = Disk(small), assets()
    bronze, silver = made.parts
    ingestion = Ingestion(beside / "home", lakehouse_uri=str(small / "lakehouse"))
    reference = Ingestion(beside / "reference")
    reference.platform.engine = ingestion.platform.engine
    for each in (ingestion, reference):
        each.arrive(0)
        assert each.run() == []
        each.arrive(1)
        each.land("0-big", big())
    report = {
        "ledger": disturbed(disk, ingestion, ingestion.run, room=0),
        "bronze": disturbed(disk, ingestion, lambda: ingestion.materialize([bronze]), room=MIB),
    }
    assert ingestion.materialize([bronze]) == []
    report["silver"] = disturbed(disk, ingestion, lambda: ingestion.materialize([silver]), room=MIB)
    for each in (ingestion, reference):
        assert each.run() == []
    report["equal"] = {table: ingestion.seen()[table] == reference.seen()[table] for table in TABLES}
    report["landing"] = landing(disk, beside, ingestion)
    ingestion.platform.close()
    print(json.dumps(report))


def landing(disk: Disk, beside: Path, other: Ingestion) -> dict[str, Any]:
    """The same where landing is on the small disk, and the source's files find no room."""
    ingestion = Ingestion(beside / "landing", landing_uri=str(disk.path / "landing"))
    ingestion.platform.engine = other.platform.engine
    ingestion.arrive(0)
    assert ingestion.run() == []
    ingestion.arrive(1)
    found = disturbed(disk, ingestion, lambda: ingestion.materialize(assets().orders[:1]), room=0)
    assert ingestion.run() == []
    wanted = other.seen()
    return found | {"equal": ingestion.seen()["silver/toys/orders"] == wanted["silver/toys/orders"]}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
