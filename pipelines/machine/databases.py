"""SQLite databases: opened so that a damaged file is named in the error, and checked as a whole."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import DamagedError

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def connect(path: Path, **options: Any) -> sqlite3.Connection:
    """Opens a database; its methods raise DamagedError where its file is no database, or a damaged one."""

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = None) -> Any:
            return super().cursor(Cursor)

        def executescript(self, script: str, /) -> sqlite3.Cursor:
            with named(path):
                return super().executescript(script)

    class Cursor(sqlite3.Cursor):
        def execute(self, *arguments: Any) -> Any:
            with named(path):
                return super().execute(*arguments)

        def executemany(self, *arguments: Any) -> Any:
            with named(path):
                return super().executemany(*arguments)

        def fetchone(self) -> Any:
            with named(path):
                return super().fetchone()

        def fetchall(self) -> Any:
            with named(path):
                return super().fetchall()

        def __next__(self) -> Any:
            with named(path):
                return super().__next__()

    return sqlite3.connect(path, factory=Connection, **options)


def is_damage(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, reports a damaged database."""
    while error is not None:
        if isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            return True
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """While the block runs, an error that reports damage of a database raises DamagedError with its path."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        raise DamagedError(
            object=f"database {path}",
            observed=str(error),
            expected="an SQLite database, as it was written",
            next_step="goldpath repair (with --dry-run it only says what it would do)",
        ) from None


def damage(path: Path) -> str:
    """What is wrong with a database, in words; an empty text if nothing is, or if there is none.

    Another process may use it meanwhile. Nothing is written.
    """
    with contextlib.suppress(FileNotFoundError):
        if not path.stat().st_size:
            return "it is empty"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as opened:
            [observed] = opened.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error) if is_damage(error) else ""
    return "" if observed == "ok" else str(observed).splitlines()[-1]
