"""What people do about rejected rows: correct the values that arrived, discard a row, or take back either.

An act writes one row per record to `ops/platform/quarantine_decisions`, with a note. Nothing is judged here: a decision
takes effect at the next materialization of the table.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import NotFoundError, SettingsError
from pipelines.quarantine import decisions
from pipelines.quarantine.table import Quarantine, first_names
from pipelines.quarantine.taken_keys import taken_keys
from pipelines.tables import RECORD_ID, RESCUED

Values = Mapping[str, str | None]


def correct(
    quarantine: Quarantine,
    corrections: Mapping[str, Values],
    *,
    note: str,
    by: str | None = None,
    keys: Literal["free", "any"] = "free",
) -> list[dict[str, Any]]:
    """Records corrected source values.

    The values of an earlier correction of the same record stay, except in the columns that this one names.

    Args:
        quarantine: The quarantine of the table.
        corrections: Record id to source column to the text that should have arrived; None is no value.
        note: Why.
        by: Who decides; None is the user of this process.
        keys: `free` refuses a correction that gives a row the key of another one; `any` lets the contract's winner
            decide which of the two stays.

    Returns:
        For each record `record_id`, `partition`, `act`, `values`, and `place`: its place until it is judged again, as
        `Quarantine.places` gives it.

    Raises:
        NotFoundError: for a column that the source does not have, or a record that bronze does not hold.
        SettingsError: without a note, without a value, or for a key that another row has.
    """
    source_columns = [*(column.name for column in quarantine.platform.contracts[quarantine.bronze].columns), RESCUED]
    if unknown := sorted({name for values in corrections.values() for name in values} - set(source_columns)):
        raise NotFoundError(
            object=f"correction of {quarantine.silver}",
            observed=f"column(s) {', '.join(unknown)}, which its source does not have",
            expected=f"source columns: {', '.join(source_columns)}",
            next_step="name columns as they arrive in the file, not as the table publishes them",
        )
    if empty := [record_id for record_id, values in corrections.items() if not values]:
        raise SettingsError(
            object=f"correction of record {first_names(empty)}",
            observed="no value",
            expected="at least one source column and its text",
            next_step="give --set column=value, or a column beside _record_id in the file",
        )
    earlier = {name: d.values for name, d in quarantine.in_effect.by_record.items() if d.act == "correct"}
    values = {record_id: {**earlier.get(record_id, {}), **new} for record_id, new in corrections.items()}
    if keys == "free":
        _require_free_keys(quarantine, values)
    return _act(quarantine, "correct", list(values), note=note, by=by, values=values)


def _require_free_keys(quarantine: Quarantine, values: Mapping[str, Values]) -> None:
    """Raises SettingsError if a correction gives a row the key of another row."""
    records = {
        record_id: decisions.Decision.proposed(quarantine.silver, record_id, values[record_id]) for record_id in values
    }
    taken = taken_keys(quarantine, records)
    if taken:
        holder = next(iter(taken.values()))
        raise SettingsError(
            object=f"correction of record {first_names(list(taken))}",
            observed=f"it has the key of record {holder} then, and one would take the place of the other",
            expected="a key that no other row has",
            next_step=f"`goldpath quarantine show {quarantine.name} {holder}` shows that row; correct the key, or give "
            "--any-key if the contract's winner is to decide which of them stays",
        )


def discard(
    quarantine: Quarantine, records: Sequence[str], *, note: str, by: str | None = None
) -> list[dict[str, Any]]:
    """Records that rows are not to be used, whatever the rules.

    Returns:
        As `correct`.

    Raises:
        NotFoundError: for a record that bronze does not hold.
        SettingsError: without a note.
    """
    return _act(quarantine, "discard", records, note=note, by=by)


def reopen(quarantine: Quarantine, records: Sequence[str], *, note: str, by: str | None = None) -> list[dict[str, Any]]:
    """Takes back the decision about each record, so that the row is judged as it arrived.

    Returns:
        As `correct`.

    Raises:
        NotFoundError: for a record without a decision.
        SettingsError: without a note.
    """
    if undecided := [record_id for record_id in records if record_id not in quarantine.in_effect.by_record]:
        raise NotFoundError(
            object=f"record {first_names(undecided)} of {quarantine.silver}",
            observed="nothing was decided about it that could be taken back",
            expected="a record that is corrected or discarded",
            next_step=f"goldpath quarantine list {quarantine.name} --state discarded",
        )
    return _act(quarantine, "reopen", records, note=note, by=by)


def _act(
    quarantine: Quarantine,
    act: decisions.Act,
    records: Sequence[str],
    *,
    note: str,
    by: str | None,
    values: Mapping[str, Values] | None = None,
) -> list[dict[str, Any]]:
    places = quarantine.places(list(dict.fromkeys(records)))
    partitions = {record_id: partition for record_id, (partition, _) in places.items()}
    house = quarantine.platform.lakehouse
    recorded = decisions.record(house, quarantine.silver, partitions, act=act, note=note, by=by, values=values)
    return [
        {
            "record_id": decision.record_id,
            "partition": decision.partition,
            "act": act,
            "values": dict(decision.values),
            "place": places[decision.record_id][1],
        }
        for decision in recorded
    ]


def read(path: Path) -> dict[str, dict[str, str | None]]:
    """Reads corrections from a file: a JSON array of objects, JSON lines, or CSV, each row with its `_record_id`.

    A JSON null is no value. An empty CSV cell leaves its column uncorrected, so that people can fill in only the wrong
    cells of a listing.

    Returns:
        Record id to source column to corrected text; None is no value.

    Raises:
        SettingsError: if the file cannot be read in its format, names no record, or names one twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _rows(text, path.suffix.lower())
        corrections = [(str(row.pop(RECORD_ID)), {name: _text(value) for name, value in row.items()}) for row in rows]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise SettingsError(
            object=f"corrections {path}",
            observed=f"{type(error).__name__}: {error}",
            expected=f".json (an array of objects), .jsonl or .csv, with {RECORD_ID} and the corrected columns",
            next_step="correct the file; none of its rows was recorded",
        ) from None
    counts = Counter(record_id for record_id, _ in corrections)
    repeated = [record_id for record_id, count in counts.items() if count > 1]
    if repeated or not corrections:
        raise SettingsError(
            object=f"corrections {path}",
            observed=f"record {first_names(repeated)} more than once" if repeated else "no record",
            expected="each record once",
            next_step="correct the file; none of its rows was recorded",
        )
    return dict(corrections)


def _rows(text: str, suffix: str) -> list[dict[str, Any]]:
    """The rows of a file; JSON numbers keep their text. Raises ValueError for an unknown suffix."""
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
