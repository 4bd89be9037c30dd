"""Origins: the landed file and row that a record comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.landing.delivery import PREFIX_CHARACTERS, Delivery
from pipelines.landing.formats.base import shown
from pipelines.landing.formats.opening import lines, unpacked
from pipelines.landing.ledger import Ledger
from pipelines.landing.zone import Landing
from pipelines.tables import TableId


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one record comes from.

    Attributes:
        record_id: The record's id.
        bronze: The bronze table that took it.
        batch: The number of the batch that took it, as in `_ingest_id`.
        uri: The delivery's path below the landing root.
        sha256: The delivery's checksum.
        row: The number of the row in the file, from 1.
        line: The line of that number in a text file; None if the file has none.
    """

    record_id: str
    bronze: TableId
    batch: str
    uri: str
    sha256: str | None
    row: int
    line: str | None


def origin(landing: Landing, ledgers: Mapping[TableId, Ledger], domain: str, record_id: str) -> Origin | None:
    """The landed file and row of a record; None if no bronze table of the domain has taken it.

    Args:
        landing: Where the file is.
        ledgers: The ledgers of bronze tables; those of other domains are ignored.
        domain: The data domain of the record.
        record_id: A value of `_record_id`.

    Raises:
        FileNotFoundError: if the file is no longer in landing.
    """
    prefix, row = record_id[:PREFIX_CHARACTERS], int(record_id[PREFIX_CHARACTERS:])
    for table, ledger in ledgers.items():
        if (table.zone, table.domain) == ("bronze", domain) and (
            record := ledger.find([prefix]).get(prefix)
        ) is not None:
            delivery = record.delivery
            line = _line(landing, delivery, row)
            return Origin(record_id, table, f"{record.batch:08d}", delivery.uri, delivery.sha256, row, line)
    return None


def _line(landing: Landing, delivery: Delivery, row: int) -> str | None:
    """The line of that number in a text file, packed or not; None if there are fewer lines."""
    with unpacked(landing, delivery) as stream:
        return next((shown(line) for number, line in lines(stream) if number == row), None)
