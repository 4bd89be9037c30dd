"""Which of several rows with one key stays, by a contract's `winner`: as an order of rows, and as a comparison of two.

If the columns of `winner` are equal, the row with the smaller record id stays, so that the result does not depend on
the order in which rows arrive or on how they are batched.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract
from pipelines.tables import INGEST_ID, INGESTED_AT, RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import Column

#: Columns that are greater in each later batch.
GROWING = (INGEST_ID, INGESTED_AT)


def compared(contract: Contract) -> list[str]:
    """The columns that decide between rows of different batches: those before one that grows with each batch."""
    columns = [sort.column for sort in contract.winner]
    growing = [columns.index(name) for name in GROWING if name in columns]
    return columns[: min(growing, default=len(columns))]


def order(contract: Contract, known: Collection[str]) -> list[Column]:
    """The order in which the first row of a key is the one that stays; `known` are the names of the rows' columns."""
    from pyspark.sql import functions as F

    columns = [
        F.col(sort.column).desc_nulls_last() if sort.descending else F.col(sort.column).asc_nulls_last()
        for sort in contract.winner
    ]
    return columns + ([F.col(RECORD_ID).asc()] if RECORD_ID in known else [])


def newcomer_wins(contract: Contract, *, old: str = "old", new: str = "new") -> str:
    """SQL that is true where a row of a later batch replaces the row that the table has under its key.

    Args:
        contract: Whose `winner` decides.
        old: Alias of the table.
        new: Alias of the later batch.
    """
    alternatives, equal = [], []
    for sort in contract.winner:
        if sort.column in GROWING:
            alternatives.append(_all(equal, "true" if sort.descending else "false"))
            return " OR ".join(alternatives)
        a, b = f"{new}.{sort.column}", f"{old}.{sort.column}"
        sign = ">" if sort.descending else "<"
        alternatives.append(_all(equal, f"({a} {sign} {b} OR ({a} IS NOT NULL AND {b} IS NULL))"))
        equal.append(f"({a} = {b} OR ({a} IS NULL AND {b} IS NULL))")
    alternatives.append(_all(equal, f"{new}.{RECORD_ID} < {old}.{RECORD_ID}"))
    return " OR ".join(alternatives)


def _all(equal: list[str], condition: str) -> str:
    return f"({' AND '.join([*equal, condition])})"
