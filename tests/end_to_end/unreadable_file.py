"""A program for the tests: ingests a round of which one file has no permissions, and once more when it has them.

It is started without the right to read what its user may not, which root has everywhere else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipelines.landing.findings import FINDINGS
from pipelines.tables import TableId
from tests.end_to_end.two_roads import Ingestion, assets


def parts(ingestion: Ingestion) -> list[str]:
    """The parts in bronze; of a line that is no row its text."""
    house = ingestion.platform.lakehouse
    rows = house.snapshot(TableId("bronze", "toys", "parts")).arrow().to_pylist()
    return sorted(row["part"] or json.loads(row["_rescued"])["_malformed"] for row in rows)


def main(home: Path) -> None:
    ingestion = Ingestion(home)
    ingestion.arrive(0)
    [closed] = (home / "landing" / "toys" / "parts").glob("*/0-a.csv")
    closed.with_name("0-again.csv").unlink()  # the same bytes
    closed.chmod(0)
    try:
        closed.read_bytes()
    except PermissionError:
        refused = True
    else:
        refused = False
    house, bronze = ingestion.platform.lakehouse, assets().parts[:1]
    wrong = ingestion.materialize(bronze)
    first = parts(ingestion)
    found = house.snapshot(FINDINGS).arrow().to_pylist()
    closed.chmod(0o644)
    wrong += ingestion.materialize(bronze)
    second = parts(ingestion)
    words = [[row["delivery"].rpartition("/")[2], row["code"], row["treatment"]] for row in found]
    print(json.dumps({"refused": refused, "wrong": wrong, "first": first, "second": second, "findings": words}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
