"""Which of several rows with one key stays, by a contract's `winner`: as an order of rows, and as a comparison of two.

Where the declared columns tie, the row with the smaller record id stays, so that the outcome does not depend on the
order in which rows arrived or on how they were batched.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract
from pipelines.tables import INGEST_ID, INGESTED_AT, RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import Column

#: They grow with each batch, so of two batches the newer has the greater one.
GROWING = (INGEST_ID, INGESTED_AT)


@dataclass(frozen=True, slots=True)
class Part:
    """One column of the order; nulls come last."""

    column: str
    descending: bool


def parts(contract: Contract) -> list[Part]:
    """The declared order."""
    found = []
    for text in filter(None, (contract.winner or "").split(",")):
        column, _, direction = text.strip().partition(" ")
        found.append(Part(column, direction.strip().lower() == "desc"))
    return found


def compared(contract: Contract) -> list[str]:
    """The columns by which rows of different batches are told apart: those before one that grows with each batch."""
    columns = [part.column for part in parts(contract)]
    ends = [columns.index(name) for name in GROWING if name in columns]
    return columns[: min(ends, default=len(columns))]


def order(contract: Contract, known: Collection[str]) -> list[Column]:
    """The order in which the first row of a key is the one that stays; `known` are the columns of the rows."""
    from pyspark.sql import functions as F

    columns = [
        F.col(part.column).desc_nulls_last() if part.descending else F.col(part.column).asc_nulls_last()
        for part in parts(contract)
    ]
    return columns + ([F.col(RECORD_ID).asc()] if RECORD_ID in known else [])


def newcomer_wins(contract: Contract, *, old: str = "old", new: str = "new") -> str:
    """SQL that is true where a row of a later batch replaces the one that a table holds under its key."""
    tests, equal = [], []
    for part in parts(contract):
        if part.column in GROWING:
            tests.append(_all(equal, "true" if part.descending else "false"))
            return " OR ".join(tests)
        a, b = f"{new}.{part.column}", f"{old}.{part.column}"
        sign = ">" if part.descending else "<"
        tests.append(_all(equal, f"({a} {sign} {b} OR ({a} IS NOT NULL AND {b} IS NULL))"))
        equal.append(f"({a} = {b} OR ({a} IS NULL AND {b} IS NULL))")
    tests.append(_all(equal, f"{new}.{RECORD_ID} < {old}.{RECORD_ID}"))
    return " OR ".join(tests)


def _all(equal: list[str], test: str) -> str:
    return f"({' AND '.join([*equal, test])})"
