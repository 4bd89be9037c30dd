"""From landed files to bronze: every value as the text that arrived, with the file and row that it came from.

A line that is no row of its file, and a value under a name that the contract does not know, are kept as JSON text in
`_rescued`; silver gives them their verdict. Where the contract lets columns evolve, such a value gets a column instead.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError, TransientError
from pipelines.landing.column_drift import ColumnDrift
from pipelines.landing.formats.piece import Piece
from pipelines.landing.ledger import Batch
from pipelines.landing.zone import Delivery, Landing
from pipelines.tables import (
    INGEST_ID,
    INGESTED_AT,
    MALFORMED,
    PARTITION,
    RECORD_ID,
    RESCUED,
    SOURCE_ROW,
    SOURCE_URI,
)

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMN_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


def read(
    landing: Landing,
    contract: Contract,
    batch: Batch,
    delivery: Delivery,
    drifted: Callable[[Delivery, ColumnDrift], None] = lambda delivery, drift: None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one delivery in the bronze table's schema, in bounded pieces.

    Args:
        landing: Where it lies.
        contract: Of the bronze table; says how it is read.
        batch: Whose number and time the rows carry.
        delivery: The file, with the checksum that it was planned with.
        drifted: Is told how the file's columns differ from the contract's, once for each new difference.

    Raises:
        LandingError: if the file cannot be read as the contract says, has other rows than its manifest says, differs
            from a frozen contract, or changed meanwhile (code `growing`).
        TransientError: if the store did not answer.
    """

    def header(names: Sequence[str]) -> None:
        drift = ColumnDrift.between(contract, names)
        if drift:
            drift.refuse_frozen(contract, delivery)
            drifted(delivery, drift)

    count = 0
    try:
        for piece in _pieces(landing, contract, delivery, header):
            count += len(piece.rows)
            yield _bronze(contract, batch, delivery, piece)
    except (LandingError, TransientError):
        raise
    except (OSError, ValueError, EOFError) as error:  # Arrow's errors are these; a broken archive is one
        if "AWS Error" in str(error):
            raise TransientError(
                object=f"delivery {delivery.uri}",
                observed=str(error).splitlines()[0],
                expected="a store that answers",
                next_step="nothing is lost: the run is tried again",
            ) from None
        raise _unreadable(delivery, contract, error) from None
    if landing.now(delivery) != delivery:
        raise _growing(delivery)
    manifest = landing.manifest(delivery)
    if manifest is not None and manifest.rows is not None and manifest.rows != count:
        raise _rows_differ(delivery, count, manifest.rows)


def schema(contract: Contract, evolved: Sequence[str] = ()) -> pa.Schema:
    """The bronze schema: the source's columns as text, then where each row came from."""
    import pyarrow as pa

    text = [*(column.name for column in contract.columns), *evolved, RESCUED, RECORD_ID, SOURCE_URI]
    return pa.schema(
        [(name, pa.string()) for name in text]
        + [(SOURCE_ROW, pa.int64()), (INGEST_ID, pa.string()), (INGESTED_AT, pa.timestamp("us", "UTC"))]
        + [(PARTITION, pa.string())]
    )


def _pieces(
    landing: Landing, contract: Contract, delivery: Delivery, header: Callable[[list[str]], None]
) -> Iterator[Piece]:
    from pipelines.landing.formats import delimited, documents, json_lines, log_lines, opening, parquet

    text = functools.partial(opening.opened, landing, contract, delivery)
    match contract.format:
        case "csv":
            return delimited.read(text, contract, delivery, header)
        case "jsonl":
            return json_lines.read(text, contract, delivery, header)
        case "log":
            return log_lines.read(text, contract, delivery, header)
        case "parquet":
            return parquet.read(landing, contract, delivery, header)
        case _:
            return documents.read(landing, contract, delivery, header)


def _bronze(contract: Contract, batch: Batch, delivery: Delivery, piece: Piece) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # its functions are made when it is imported

    count = len(piece.rows)
    known = [column.name for column in contract.columns]
    unknown = [name for name in piece.columns if name not in set(known)]
    evolved = [name for name in unknown if evolves(contract, name)]
    nothing = pa.nulls(count, pa.string())
    places = pc.utf8_lpad(piece.rows.cast(pa.string()), 12, "0")
    arrays = [piece.columns.get(name, nothing) for name in (*known, *evolved)]
    arrays += [
        _rescued(piece, [name for name in unknown if name not in evolved]),
        pc.binary_join_element_wise(delivery.prefix or "", places, ""),
        pa.repeat(delivery.uri, count),
        piece.rows,
        pa.repeat(batch.ingest_id, count),
        pa.repeat(pa.scalar(datetime.fromisoformat(batch.planned_at), pa.timestamp("us", "UTC")), count),
        pa.repeat(delivery.interval, count),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema(contract, evolved))


def evolves(contract: Contract, name: str) -> bool:
    """Whether a column that the contract does not know gets one in bronze: engines must be able to tell it apart."""
    known = {column.name.lower() for column in contract.columns}
    return bool(contract.drift["columns"] == "evolve" and _COLUMN_NAME.fullmatch(name) and name.lower() not in known)


def _rescued(piece: Piece, names: Sequence[str]) -> pa.Array:
    """JSON text of what has no column: the line that is no row, or the values under unknown names."""
    import pyarrow as pa

    if not names and not piece.malformed:
        return pa.nulls(len(piece.rows), pa.string())
    values = {name: piece.columns[name].to_pylist() for name in names}
    found: list[str | None] = []
    for position in range(len(piece.rows)):
        if position in piece.malformed:
            found.append(json.dumps({MALFORMED: piece.malformed[position]}))
        else:
            kept = {name: column[position] for name, column in values.items() if column[position] is not None}
            found.append(json.dumps(kept) if kept else None)
    return pa.array(found, pa.string())


def _unreadable(delivery: Delivery, contract: Contract, error: Exception) -> LandingError:
    words = str(error).partition("\n")[0]
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"{type(error).__name__}: {words}",
        expected=f"a whole {contract.format} file in {contract.encoding}, as {contract.path.name} says",
        next_step="move the file out of landing and ask for it again; the others are not affected",
    )


def _growing(delivery: Delivery) -> LandingError:
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed="it changed while it was read",
        expected="a file that is written under another name and renamed when it is complete",
        next_step="nothing is lost: the next run looks again",
        code="growing",
    )


def _rows_differ(delivery: Delivery, found: int, said: int) -> LandingError:
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"{found} rows",
        expected=f"{said} rows, as its manifest says",
        next_step="ask the source for it again; nothing of this file was taken",
        code="row_count",
    )
