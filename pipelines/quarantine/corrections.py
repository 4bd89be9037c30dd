"""What people do about rejected rows: correct the values that arrived, discard a row, or take either back.

Each act is one row per record in `ops/platform/quarantine_decisions`, with a note. Nothing is judged here: a decision
takes effect when the table is materialized next, whoever starts that.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import NotFoundError, SettingsError
from pipelines.quarantine import decisions
from pipelines.quarantine.table import Quarantine, some
from pipelines.tables import RECORD_ID, RESCUED

Values = Mapping[str, str | None]


def correct(
    here: Quarantine, corrections: Mapping[str, Values], *, note: str, by: str | None = None
) -> list[dict[str, Any]]:
    """Records corrected source values, record by record; a correction before it keeps what this one does not name.

    Args:
        here: The quarantine of the table.
        corrections: Record id to source column to the text that should have arrived; None is no value.
        note: Why.
        by: Who says so; None is the user of this process.

    Returns:
        For each record `record_id`, `partition`, `act`, `values` and `place`, where it stands until it is judged again.

    Raises:
        NotFoundError: for a column that the source does not have, or a record that bronze does not hold.
        SettingsError: without a note, or without a value.
    """
    known = [*(column.name for column in here.platform.contracts[here.bronze].columns), RESCUED]
    if unknown := sorted({name for values in corrections.values() for name in values} - set(known)):
        raise NotFoundError(
            object=f"correction of {here.silver}",
            observed=f"column(s) {', '.join(unknown)}, which its source does not have",
            expected=f"source columns: {', '.join(known)}",
            next_step="name columns as they arrive in the file, not as the table publishes them",
        )
    if empty := [name for name, values in corrections.items() if not values]:
        raise SettingsError(
            object=f"correction of record {some(empty)}",
            observed="no value",
            expected="at least one source column and its text",
            next_step="give --set column=value, or a column beside _record_id in the file",
        )
    before = {name: made.values for name, made in here.decided.by_record.items() if made.act == "correct"}
    whole = {name: {**before.get(name, {}), **values} for name, values in corrections.items()}
    return _act(here, "correct", list(whole), note=note, by=by, values=whole)


def discard(here: Quarantine, records: Sequence[str], *, note: str, by: str | None = None) -> list[dict[str, Any]]:
    """Records that these are not to be used, whatever the rules; returns and raises as `correct` does."""
    return _act(here, "discard", records, note=note, by=by)


def reopen(here: Quarantine, records: Sequence[str], *, note: str, by: str | None = None) -> list[dict[str, Any]]:
    """Takes back what was decided about each record, so that it is judged as it arrived; returns as `correct` does.

    Raises:
        NotFoundError: for a record about which nothing was decided.
        SettingsError: without a note.
    """
    if undecided := [name for name in records if name not in here.decided.by_record]:
        raise NotFoundError(
            object=f"record {some(undecided)} of {here.silver}",
            observed="nothing was decided about it that could be taken back",
            expected="a record that is corrected or discarded",
            next_step=f"goldpath quarantine list {here.silver.domain}/{here.silver.table} --state discarded",
        )
    return _act(here, "reopen", records, note=note, by=by)


def _act(
    here: Quarantine,
    act: decisions.Act,
    records: Sequence[str],
    *,
    note: str,
    by: str | None,
    values: Mapping[str, Values] | None = None,
) -> list[dict[str, Any]]:
    places = here.places(list(dict.fromkeys(records)))
    partitions = {name: partition for name, (partition, _) in places.items()}
    made = decisions.record(here.platform.lakehouse, here.silver, partitions, act=act, note=note, by=by, values=values)
    return [
        {
            "record_id": d.record_id,
            "partition": d.partition,
            "act": act,
            "values": dict(d.values),
            "place": places[d.record_id][1],
        }
        for d in made
    ]


def read(path: Path) -> dict[str, dict[str, str | None]]:
    """Corrections of a file: a JSON array of objects, JSON lines, or CSV, each with `_record_id`.

    A JSON null is no value. An empty CSV cell says nothing about its column, so that a listing can be sent back with
    only the wrong cells filled in.

    Raises:
        SettingsError: if the file cannot be read so, or names a record twice or not at all.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _rows(text, path.suffix.lower())
        named = [(str(row.pop(RECORD_ID)), {name: _text(value) for name, value in row.items()}) for row in rows]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise SettingsError(
            object=f"corrections {path}",
            observed=f"{type(error).__name__}: {error}",
            expected=f".json (an array of objects), .jsonl or .csv, with {RECORD_ID} and the corrected columns",
            next_step="correct the file; nothing of it was recorded",
        ) from None
    twice = [name for name, times in Counter(name for name, _ in named).items() if times > 1]
    if twice or not named:
        raise SettingsError(
            object=f"corrections {path}",
            observed=f"record {some(twice)} more than once" if twice else "no record",
            expected="each record once",
            next_step="correct the file; nothing of it was recorded",
        )
    return dict(named)


def _rows(text: str, suffix: str) -> list[dict[str, Any]]:
    match suffix:
        case ".json":
            return [dict(row) for row in json.loads(text, parse_float=str, parse_int=str)]
        case ".jsonl" | ".ndjson":
            lines = filter(str.strip, text.split("\n"))
            return [dict(json.loads(line, parse_float=str, parse_int=str)) for line in lines]
        case ".csv":
            rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            return [{name: value for name, value in row.items() if value not in ("", None)} for row in rows]
        case _:
            raise ValueError(f"the name ends in {suffix!r}")


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
