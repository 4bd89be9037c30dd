"""Snapshots of a transactional database's tables, as files for the landing zone."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from pipelines.errors import NotFoundError


def snapshot(database: Path, table: str) -> bytes:
    """One SQLite table as JSON lines, read in one read transaction and ordered by its primary key.

    Equal content gives equal bytes. Integers, reals and texts keep their type, NULL is `null`.

    Raises:
        NotFoundError: if there is no such database or no such table in it.
    """
    if not database.is_file():
        raise _missing(f"database {database}", "no such file", "create the database, or correct the path")
    address = f"{database.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        columns = connection.execute("SELECT name, pk FROM pragma_table_info(?) ORDER BY cid", (table,)).fetchall()
        if not columns:
            raise _missing(f"table {table!r} of {database.name}", "no such table", "name one of the database's tables")
        key = [_quoted(name) for name, position in sorted(columns, key=lambda c: c[1]) if position] or ["rowid"]
        names = [name for name, _ in columns]
        selected = ", ".join(map(_quoted, names))
        rows = connection.execute(f"SELECT {selected} FROM {_quoted(table)} ORDER BY {', '.join(key)}")
        lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _missing(what: str, observed: str, next_step: str) -> NotFoundError:
    return NotFoundError(
        object=what, observed=observed, expected="a SQLite database that holds the table", next_step=next_step
    )
