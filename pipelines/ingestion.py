"""From landed files to bronze: every value as the text that arrived, with the file and row that it came from.

A line that is no row of its file, and a value under a name that the contract does not know, are kept as JSON text in
`_rescued`; silver gives them their verdict.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts import Contract
from pipelines.errors import LandingError
from pipelines.landing import Batch, Delivery, Landing
from pipelines.tables import INGEST_ID, INGESTED_AT, PARTITION, RECORD_ID, SOURCE_ROW, SOURCE_URI

if TYPE_CHECKING:
    import pyarrow as pa

RESCUED = "_rescued"
MALFORMED = "_malformed"
BLOCK_BYTES = 8 * 1024 * 1024
JSON_LINES_PER_BATCH = 20_000


def read(landing: Landing, contract: Contract, batch: Batch, delivery: Delivery) -> Iterator[pa.RecordBatch]:
    """The rows of one delivery in the bronze table's schema, in bounded pieces.

    Raises:
        LandingError: if the file cannot be read as the contract says, or has a column that a frozen contract lacks.
    """
    import pyarrow as pa

    parts = _csv(landing, contract, delivery) if contract.format == "csv" else _jsonl(landing, contract, delivery)
    names = [column.name for column in contract.columns]
    prefix = (delivery.sha256 or "")[:16]
    for rows, rescued, columns in parts:
        count = len(rows)
        arrays: list[Any] = [columns.get(name, pa.nulls(count, pa.string())) for name in names]
        record_ids = pa.array([f"{prefix}{row:012d}" for row in rows])
        arrays += [
            pa.array(rescued, pa.string()),
            record_ids,
            pa.repeat(delivery.uri, count),
            pa.array(rows, pa.int64()),
            pa.repeat(batch.ingest_id, count),
            pa.repeat(pa.scalar(datetime.fromisoformat(batch.planned_at), pa.timestamp("us", "UTC")), count),
            pa.repeat(delivery.interval, count),
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema(contract))


def schema(contract: Contract) -> pa.Schema:
    """The bronze schema: the source's columns as text, then where each row came from."""
    import pyarrow as pa

    text = [*(column.name for column in contract.columns), RESCUED, RECORD_ID, SOURCE_URI]
    return pa.schema(
        [(name, pa.string()) for name in text]
        + [(SOURCE_ROW, pa.int64()), (INGEST_ID, pa.string()), (INGESTED_AT, pa.timestamp("us", "UTC"))]
        + [(PARTITION, pa.string())]
    )


_Part = tuple[list[int], list[str | None], dict[str, Any]]


def _csv(landing: Landing, contract: Contract, delivery: Delivery) -> Iterator[_Part]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    malformed: dict[int, str] = {}

    def keep(row: arrow_csv.InvalidRow) -> str:
        malformed[row.number] = row.text
        return "skip"

    path = landing.path(delivery)
    try:
        names, has_rows = _header(path, contract.delimiter)
        _refuse_unknown(contract, delivery, names)
        _refuse_repeated(delivery, names)
        if not has_rows:
            return
        reader = arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(
                delimiter=contract.delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
        number = 2  # the header is row 1
        for part in reader:
            rows = []
            while len(rows) < part.num_rows:
                if number not in malformed:
                    rows.append(number)
                number += 1
            columns = {name: part.column(i) for i, name in enumerate(part.schema.names)}
            yield rows, _rescue(contract, columns, part.num_rows), columns
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(delivery, contract, error) from None
    if malformed:
        yield list(malformed), [json.dumps({MALFORMED: text}) for text in malformed.values()], {}


def _header(path: Path, delimiter: str) -> tuple[list[str], bool]:
    """The names in the first line that is not blank, and whether another follows."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        names = next(filter(None, csv.reader(lines, delimiter=delimiter)), [])
        return names, any(line.strip("\r\n") for line in lines)


def _jsonl(landing: Landing, contract: Contract, delivery: Delivery) -> Iterator[_Part]:
    import pyarrow as pa

    known = {column.name for column in contract.columns}
    rows: list[int] = []
    records: list[dict[str, Any]] = []
    rescued: list[str | None] = []

    def part() -> _Part:
        columns = {name: pa.array([_text(r.get(name)) for r in records], pa.string()) for name in known}
        return list(rows), list(rescued), columns

    try:
        with landing.path(delivery).open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                record = _record(line)
                extra = {name: _text(value) for name, value in (record or {}).items() if name not in known}
                if record is not None:
                    _refuse_unknown(contract, delivery, record)
                rows.append(number)
                records.append(record or {})
                rescued.append(
                    json.dumps({MALFORMED: line}) if record is None else json.dumps(extra) if extra else None
                )
                if len(rows) == JSON_LINES_PER_BATCH:
                    yield part()
                    rows.clear(), records.clear(), rescued.clear()
    except UnicodeDecodeError as error:
        raise _unreadable(delivery, contract, error) from None
    if rows:
        yield part()


def _record(line: str) -> dict[str, Any] | None:
    """A JSON object whose numbers stay the text that arrived; None for no object, or half a character."""
    try:
        record = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        if "\\u" in line:
            json.dumps(record, ensure_ascii=False).encode()
    except (json.JSONDecodeError, UnicodeEncodeError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _rescue(contract: Contract, columns: dict[str, Any], count: int) -> list[str | None]:
    known = {column.name for column in contract.columns}
    extra = [name for name in columns if name not in known]
    if not extra:
        return [None] * count
    values = {name: columns[name].to_pylist() for name in extra}
    return [json.dumps({name: values[name][row] for name in extra}) for row in range(count)]


def _refuse_unknown(contract: Contract, delivery: Delivery, names: Any) -> None:
    unknown = set(names) - {column.name for column in contract.columns}
    if unknown and contract.drift["columns"] == "freeze":
        raise LandingError(
            object=f"delivery {delivery.uri}",
            observed=f"column(s) {', '.join(sorted(unknown))}, which {contract.path.name} does not know",
            expected="only the contract's columns, since it freezes them (drift.columns)",
            next_step="add the column to the contract, or set drift.columns to discard_value",
        )


def _refuse_repeated(delivery: Delivery, names: list[str]) -> None:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise LandingError(
            object=f"delivery {delivery.uri}",
            observed=f"more than one column {', '.join(repeated)}",
            expected="each column name once: of two values under one name only one could be kept",
            next_step="move the file out of landing and ask for it again, with names that differ",
        )


def _unreadable(delivery: Delivery, contract: Contract, error: Exception) -> LandingError:
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"{type(error).__name__}: {error}",
        expected=f"a {contract.format} file in UTF-8, as {contract.path.name} says",
        next_step="move the file out of landing and ask for it again; the others are not affected",
    )
