"""A program of test_unruly_files.py: ingests files of which one is unreadable, and again after it became readable.

Its argument is a home folder. It is started without the capabilities by which root reads every file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipelines.landing.findings import FINDINGS
from pipelines.tables import TableId
from tests.end_to_end.two_sources import Ingestion, assets


def parts(ingestion: Ingestion) -> list[str]:
    """The parts in bronze; the text of a line that is not a row."""
    rows = ingestion.platform.lakehouse.snapshot(TableId("bronze", "toys", "parts")).arrow().to_pylist()
    return sorted(row["part"] or json.loads(row["_rescued"])["_malformed"] for row in rows)


def is_readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except PermissionError:
        return False
    return True


def main(home: Path) -> None:
    ingestion = Ingestion(home)
    ingestion.arrive(0)
    [file] = (home / "landing" / "toys" / "parts").glob("*/0-a.csv")
    file.with_name("0-again.csv").unlink()  # it has the same content
    file.chmod(0)
    readable = is_readable(file)
    bronze = assets().parts[:1]
    failures = ingestion.materialize(bronze)
    first_parts = parts(ingestion)
    findings = ingestion.platform.lakehouse.snapshot(FINDINGS).arrow().to_pylist()
    file.chmod(0o644)
    failures += ingestion.materialize(bronze)
    report = {
        "readable": readable,
        "failures": failures,
        "first_parts": first_parts,
        "second_parts": parts(ingestion),
        "findings": [[row["delivery"].rpartition("/")[2], row["code"], row["treatment"]] for row in findings],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
