"""Which of several rows with one key stays, by a contract's `winner`: as an order of rows, and as a comparison of two.

Of rows that are equal in the columns of `winner`, the one that arrived last stays: of the later batch, in a batch of
the file that landed later (of two that landed at once, the greater name), in a file the later row. So the result does
not depend on how deliveries are cut into runs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract
from pipelines.tables import INGEST_ID, INGESTED_AT, RECORD_ID, SOURCE_ROW, SOURCE_URI, quoted

if TYPE_CHECKING:
    from pyspark.sql import Column

#: Columns that are greater in each later batch. In `winner`, each of them stands for when the row's file arrived.
GROWING = (INGEST_ID, INGESTED_AT)
#: The order in which files arrive, and in which rows do.
FILES = (INGEST_ID, INGESTED_AT, SOURCE_URI)
ARRIVAL = (*FILES, SOURCE_ROW)


def compared(contract: Contract) -> list[str]:
    """The columns that decide between rows of different batches: those before one that grows with each batch."""
    columns = [sort.column for sort in contract.winner]
    growing = [columns.index(name) for name in GROWING if name in columns]
    return columns[: min(growing, default=len(columns))]


def order(contract: Contract, known: Collection[str]) -> list[Column]:
    """The order in which the first row of a key is the one that stays; `known` are the names of the rows' columns."""
    from pyspark.sql import functions as F

    descending: dict[str, bool] = {}
    for sort in contract.winner:
        for name in FILES if sort.column in GROWING else (sort.column,):
            descending.setdefault(name, sort.descending)
    for name in ARRIVAL:
        if name in known:
            descending.setdefault(name, True)
    columns = [
        F.col(quoted(name)).desc_nulls_last() if is_descending else F.col(quoted(name)).asc_nulls_last()
        for name, is_descending in descending.items()
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
        a, b = f"{new}.{quoted(sort.column)}", f"{old}.{quoted(sort.column)}"
        sign = ">" if sort.descending else "<"
        alternatives.append(_all(equal, f"({a} {sign} {b} OR ({a} IS NOT NULL AND {b} IS NULL))"))
        equal.append(f"({a} = {b} OR ({a} IS NULL AND {b} IS NULL))")
    return " OR ".join([*alternatives, _all(equal, "true")])


def _all(equal: list[str], condition: str) -> str:
    return f"({' AND '.join([*equal, condition])})"
