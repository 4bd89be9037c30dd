"""The deliveries of a batch as parts of a commit: small files together, every other file by itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.lakehouse.arrow_stage import Part
from pipelines.landing.delivery import Delivery
from pipelines.landing.ledger import Batch
from pipelines.landing.reading import ColumnNames, Drifted, Origin, bronze_rows, check_header, read
from pipelines.landing.small_files import SmallFiles
from pipelines.landing.zone import Landing


def parts(
    landing: Landing,
    contract: Contract,
    deliveries: Iterable[Delivery],
    *,
    contents: Mapping[str, bytes],
    marks: Callable[[Delivery], Batch],
    drifted: Drifted,
    columns: ColumnNames,
    leave_out: Callable[[Delivery, LandingError], None],
) -> Iterator[Part]:
    """The rows of deliveries in the bronze table's schema, in the order of the deliveries.

    Args:
        landing: Where the deliveries are.
        contract: The contract of the bronze table.
        deliveries: The files, each with the checksum that it was planned with.
        contents: The bytes of small files that were read for their checksums, by uri.
        marks: The batch whose number and time the rows of a delivery carry.
        drifted: Called for each new difference between a file's columns and the contract's.
        columns: The columns of the bronze table, which those that evolve are added to.
        leave_out: Called with a delivery that cannot be read, and the error.
    """
    small = SmallFiles(landing, contract, contents, functools.partial(check_header, contract, drifted))
    for group in small.groups(deliveries):
        if isinstance(group, Delivery):
            rows = read(landing, contract, marks(group), group, drifted, columns)
            yield Part(group.interval, rows, functools.partial(leave_out, group))
        else:
            origins = [Origin(marks(file.delivery), file.delivery, file.rows) for file in group]
            rows = (bronze_rows(contract, origins, piece, columns) for piece in small.pieces(group))
            yield Part(group[0].delivery.interval, rows)
