"""The events of entities that pushed windowed features still depend on, beside the online store of a generation.

An entity's events are read from their table when one of them is pushed, and again when the table has a new version:
other ways bring in events, and corrections take some away. Pushed events that no version has had yet are kept as well.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipelines.features.windowed import Windowed
from pipelines.features.windowed_events import Values
from pipelines.lakehouse.catalog import Catalog, text
from pipelines.lakehouse.table_log import TableLog
from pipelines.machine import databases
from pipelines.tables import TableVersion

KEPT_FILE = "events.db"
#: The member of an event that no version of the table has had yet.
PENDING = "_pending"
Entity = tuple[Any, ...]


class KeptEvents:
    """The events of one declaration. For one writer at a time, which holds the domain's store.

    Args:
        folder: Of the generation.
        lakehouse: The root of the tables.
        declared: The features.
    """

    def __init__(self, folder: Path, lakehouse: str, declared: Windowed) -> None:
        self._path = folder / KEPT_FILE
        self._tables = Catalog(lakehouse)
        self._declared = declared
        self._version = TableLog(self._tables.path(declared.events.table)).newest
        names = (*declared.keys, *declared.events.key_columns, declared.at, *declared.columns)
        self._types = {name: declared.events.column(name).type for name in names}
        self._view = json.dumps([declared.view.stored_name, *self._types])  # other columns are read anew

    def of(self, entities: Sequence[Entity], now: datetime) -> dict[Entity, list[Values]]:
        """The events of each entity, those of the table last.

        Raises:
            DamagedError: if the table of the events is damaged, or the file of kept ones.
        """
        kept: dict[Entity, list[Values]] = {entity: [] for entity in entities}
        outdated = []
        with closing(self._connected()) as database:
            for entity in entities:
                query = "SELECT version, events FROM kept WHERE view = ? AND entity = ?"
                row = database.execute(query, (self._view, json.dumps(entity))).fetchone()
                events = [self._read(line) for line in json.loads(row[1])] if row else []
                if row and row[0] == self._version:
                    kept[entity] = events
                else:
                    kept[entity] = [event for event in events if PENDING in event]
                    outdated.append(entity)
        if outdated and self._version >= 0:
            for event in self._of_table(outdated, now):
                kept[tuple(event[key] for key in self._declared.keys)].append(event)
        return kept

    def keep(self, events: Mapping[Entity, Sequence[Values]]) -> None:
        """Keeps the events of entities in place of what was kept of them; they are on the disk when this returns."""
        rows = [
            (self._view, json.dumps(entity), self._version, json.dumps([self._line(event) for event in of_entity]))
            for entity, of_entity in events.items()
        ]
        with closing(self._connected()) as database, database:
            database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)

    def _of_table(self, entities: Sequence[Entity], now: datetime) -> list[Values]:
        """The events of the entities in their table, but those that are out of all windows for good."""
        import pyarrow.dataset as ds

        declared = self._declared
        wanted = set(entities)
        key = declared.keys[0]
        column = text(key) if self._types[key] == "string" else ds.field(key)
        where = column.isin(list(dict.fromkeys(entity[0] for entity in entities)))
        longest = declared.longest_seconds
        if longest is not None and self._types[declared.at] == "timestamp":
            # The last event to leave gives a row its instant, so that twice the longest window is looked at.
            where &= ds.field(declared.at) > now - timedelta(seconds=2 * longest) - 2 * declared.tick
        at = TableVersion(declared.events.table, self._version)
        rows = self._tables.snapshot(at).arrow(columns=list(self._types), where=where).to_pylist()
        return [row for row in rows if tuple(row[key] for key in declared.keys) in wanted]

    def _line(self, event: Values) -> dict[str, Any]:
        """An event as JSON has it."""
        values = {name: event[name] for name in self._types} | ({PENDING: True} if PENDING in event else {})
        return {name: str(value) if isinstance(value, date | Decimal) else value for name, value in values.items()}

    def _read(self, line: Mapping[str, Any]) -> Values:
        return {name: _value(value, self._types.get(name, "boolean")) for name, value in line.items()}

    def _connected(self) -> sqlite3.Connection:
        database = databases.connect(self._path)
        database.execute(
            "CREATE TABLE IF NOT EXISTS kept"
            " (view TEXT, entity TEXT, version INTEGER, events TEXT, PRIMARY KEY (view, entity)) WITHOUT ROWID"
        )
        return database


def _value(held: Any, type_: str) -> Any:
    """A value of JSON in a column's type."""
    if held is None:
        return None
    if type_ == "timestamp":
        return datetime.fromisoformat(held)
    if type_ == "date":
        return date.fromisoformat(held)
    return Decimal(held) if type_.startswith("decimal") else held
