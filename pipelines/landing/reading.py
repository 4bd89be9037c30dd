"""From landed files to bronze: every value as the text that arrived, with the file and row that it came from.

A line that is not a row of its file, and a value under a name that the contract does not know, are kept as JSON text in
`_rescued`; silver judges them. Where the contract lets columns evolve, such a value gets a column of its own instead,
if its name differs from those of the other columns by more than upper and lower case: engines take such names for one.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.contracts.model import Contract
from pipelines.errors import ContractError, LandingError, TransientError
from pipelines.landing.column_drift import ColumnDrift
from pipelines.landing.delivery import Delivery
from pipelines.landing.formats.base import DeliveredFile, Piece, file_format
from pipelines.landing.ledger import Batch
from pipelines.landing.zone import Landing
from pipelines.tables import (
    INGEST_ID,
    INGESTED_AT,
    MALFORMED,
    PARTITION,
    RECORD_ID,
    RESCUED,
    SOURCE_ROW,
    SOURCE_URI,
    reserved,
)

if TYPE_CHECKING:
    import pyarrow as pa

#: Called for each new difference between a file's columns and the contract's.
Drifted = Callable[[Delivery, ColumnDrift], None]
_COLUMN_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


def read(
    landing: Landing,
    contract: Contract,
    batch: Batch,
    delivery: Delivery,
    drifted: Drifted = lambda delivery, drift: None,
    columns: ColumnNames | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one delivery in the bronze table's schema, in bounded pieces.

    Args:
        landing: Where the delivery is.
        contract: The contract of the bronze table, which says how the file is read.
        batch: The batch whose number and time the rows carry.
        delivery: The file, with the checksum that it was planned with.
        drifted: Called for each new difference between the file's columns and the contract's.
        columns: The columns of the bronze table, which those that evolve are added to; None for a table that has only
            the contract's.

    Raises:
        LandingError: if the file cannot be read as the contract says, has more or fewer rows than its manifest says,
            differs from a frozen contract, or changed while it was read (code `growing`). Whatever else goes wrong
            while a file is read becomes such an error too, with the class of the exception, so that the other files
            are taken.
        TransientError: if the store did not answer.
    """

    count = 0
    columns = columns or ColumnNames(contract)
    header = functools.partial(check_header, contract, drifted, delivery)
    try:
        for piece in file_format(contract.format).read(DeliveredFile(landing, delivery, contract.delivered, header)):
            count += len(piece.rows)
            yield bronze_rows(contract, [Origin(batch, delivery, len(piece.rows))], piece, columns)
        if landing.now(delivery) != delivery:
            raise _growing(delivery)
        manifest = landing.manifest(delivery)
    except (LandingError, TransientError, MemoryError):
        raise
    except Exception as error:
        if "AWS Error" in str(error):
            raise TransientError(
                object=f"delivery {delivery.uri}",
                observed=str(error).splitlines()[0],
                expected="a store that answers",
                next_step="nothing is lost: the run is tried again",
            ) from None
        raise _unreadable(delivery, contract, error) from error
    if manifest is not None and manifest.rows is not None and manifest.rows != count:
        raise _rows_differ(delivery, count, manifest.rows)


def check_header(contract: Contract, drifted: Drifted, delivery: Delivery, names: Sequence[str]) -> None:
    """Reports what differs between the contract's columns and those of a file; LandingError if it freezes them."""
    drift = ColumnDrift.between(contract.delivered, names)
    if drift:
        drift.refuse_frozen(contract, delivery)
        drifted(delivery, drift)


class ColumnNames:
    """The names of a bronze table's columns, of which no two differ by upper and lower case alone.

    Args:
        contract: The contract of the table.
        existing: Names of the columns that the table has.

    Raises:
        ContractError: if the contract spells a column that the table has in other case.
    """

    def __init__(self, contract: Contract, existing: Sequence[str] = ()) -> None:
        self._names = {name.lower(): name for name in existing}
        self._declared = {column.name.lower() for column in contract.columns}
        for column in contract.columns:
            if self._names.setdefault(column.name.lower(), column.name) != column.name:
                name = self._names[column.name.lower()]
                raise ContractError(
                    object=f"column {column.name} of {contract.path.name}",
                    observed=f"the table {contract.table} has a column {name}, which evolved from its files",
                    expected="names that differ by more than upper and lower case, which engines take for one",
                    next_step=f"name the column {name} in the contracts",
                )

    def add(self, name: str) -> bool:
        """Adds the name of a column that evolves; returns whether the table has it: not if an engine cannot tell it
        from another column, or does not take it for a name, or the platform uses it.
        """
        is_free = _COLUMN_NAME.fullmatch(name) and not reserved(name) and name.lower() not in self._declared
        return bool(is_free) and self._names.setdefault(name.lower(), name) == name


def schema(contract: Contract, evolved: Sequence[str] = ()) -> pa.Schema:
    """The bronze schema: the contract's columns and the evolved ones as text, then where each row came from."""
    return _schema(tuple(column.name for column in contract.columns) + tuple(evolved))


@functools.lru_cache(maxsize=64)
def _schema(columns: tuple[str, ...]) -> pa.Schema:
    import pyarrow as pa

    texts = [*columns, RESCUED, RECORD_ID, SOURCE_URI]
    return pa.schema(
        [(name, pa.string()) for name in texts]
        + [(SOURCE_ROW, pa.int64()), (INGEST_ID, pa.string()), (INGESTED_AT, pa.timestamp("us", "UTC"))]
        + [(PARTITION, pa.string())]
    )


class Origin(NamedTuple):
    """Where consecutive rows come from: so many from one delivery, with the marks of a batch."""

    batch: Batch
    delivery: Delivery
    rows: int


def bronze_rows(contract: Contract, origins: Sequence[Origin], piece: Piece, columns: ColumnNames) -> pa.RecordBatch:
    """A piece, whose rows come from these origins one after the other, in the bronze schema."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them

    count = len(piece.rows)
    known = [column.delivered_name for column in contract.columns]
    unknown = [name for name in piece.columns if name not in set(known)]
    evolved = [name for name in unknown if contract.drift["columns"] == "evolve" and columns.add(name)]
    nulls = pa.nulls(count, pa.string())
    places = pc.utf8_lpad(piece.rows.cast(pa.string()), 12, "0")
    origins = [origin for origin in origins if origin.rows]
    ends = pa.array(np.cumsum([origin.rows for origin in origins]), pa.int32())

    def each(value: Callable[[Origin], object], kind: pa.DataType) -> pa.Array:
        values = pa.array([value(origin) for origin in origins], kind)
        return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, values))

    arrays = [piece.columns.get(name, nulls) for name in (*known, *evolved)]
    arrays += [
        _rescued(piece, [name for name in unknown if name not in evolved]),
        pc.binary_join_element_wise(each(lambda origin: origin.delivery.prefix or "", pa.string()), places, ""),
        each(lambda origin: origin.delivery.uri, pa.string()),
        piece.rows,
        each(lambda origin: origin.batch.ingest_id, pa.string()),
        each(lambda origin: origin.batch.ingested_at(origin.delivery), pa.timestamp("us", "UTC")),
        each(lambda origin: origin.delivery.interval, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema(contract, evolved))


def _rescued(piece: Piece, names: Sequence[str]) -> pa.Array:
    """JSON text of what has no column: a line that is not a row, or the values under unknown names."""
    import pyarrow as pa

    if not names and not piece.malformed:
        return pa.nulls(len(piece.rows), pa.string())
    values = {name: piece.columns[name].to_pylist() for name in names}
    texts: list[str | None] = []
    for position in range(len(piece.rows)):
        if position in piece.malformed:
            texts.append(json.dumps({MALFORMED: piece.malformed[position]}, ensure_ascii=False))
        else:
            row = {name: column[position] for name, column in values.items() if column[position] is not None}
            texts.append(json.dumps(row, ensure_ascii=False) if row else None)
    return pa.array(texts, pa.string())


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
        next_step="nothing is lost: the next run looks at it again",
        code="growing",
    )


def _rows_differ(delivery: Delivery, rows: int, declared: int) -> LandingError:
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"{rows} rows",
        expected=f"{declared} rows, as its manifest says",
        next_step="ask the source for it again; nothing of this file was taken",
        code="row_count",
    )
