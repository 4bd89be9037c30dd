"""The rows of an online store in one SQLite file: a table for each view, with one row for each entity.

The file is in WAL mode: who reads does not wait for who writes, and reads what was committed when its query began.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

from feature_repo.stored_row import EncodedRows
from pipelines.machine import databases

#: Of one query: what SQLite takes before version 3.32 are 999 values; and 500 tables.
KEYS_PER_QUERY, VIEWS_PER_QUERY = 900, 400
SECONDS_TO_WAIT = 30.0
#: Memory for pages of one connection, which are read as they are used.
CACHE_KIB = 64 * 1024


class SqliteRows:
    """One file, as one process reads and writes it; may be used by several threads.

    Its methods raise DamagedError where the file is no database, or a damaged one.

    Args:
        path: The file, which has to be there unless `create` is called first.
        synced: Whether each commit is synced to the disk.
    """

    def __init__(self, path: Path, *, synced: bool = True) -> None:
        self._path = path
        self._synced = synced
        self._opened: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    def create(self, views: Iterable[str]) -> None:
        """Makes the file, and the tables of views that it lacks."""
        with self._lock, databases.named(self._path):
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._connection("rwc").execute("PRAGMA journal_mode = WAL")
            with self._transaction() as connection:
                for view in views:
                    columns = "entity_key BLOB PRIMARY KEY, event_ts INTEGER NOT NULL, feature_values BLOB NOT NULL"
                    connection.execute(f"CREATE TABLE IF NOT EXISTS {_quoted(view)} ({columns})")

    def drop(self, views: Iterable[str]) -> None:
        """Removes the tables of views."""
        with self._transaction() as connection:
            for view in views:
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(view)}")

    def write(self, view: str, rows: EncodedRows, *, first: bool = False) -> None:
        """Writes rows in one transaction, each unless a later one of its entity is stored; of equal instants the last.

        Args:
            view: The view's name.
            rows: The rows.
            first: As in `RedisRows`; nothing is cheaper here.
        """
        statement = (
            f"INSERT INTO {_quoted(view)} AS stored VALUES (?, ?, ?) ON CONFLICT (entity_key) DO UPDATE SET "
            "event_ts = excluded.event_ts, feature_values = excluded.feature_values "
            "WHERE excluded.event_ts >= stored.event_ts"
        )
        # In the order of their keys they change each page of the table's index once.
        ordered = sorted(zip(rows.keys, rows.instants, rows.values, strict=True), key=itemgetter(0))
        with self._transaction() as connection:
            connection.executemany(statement, ordered)

    def read(self, asked: Sequence[tuple[str, bytes]]) -> list[tuple[int, bytes] | None]:
        """The instant and the values of each asked view and key, all of one moment; None where no row is stored."""
        found: dict[tuple[str, bytes], tuple[int, bytes]] = {}
        queries = list(_queries(asked))
        with self._lock, databases.named(self._path):
            connection = self._connection()
            if len(queries) > 1:
                connection.execute("BEGIN")
            try:
                for views, query, keys in queries:
                    for place, key, instant, values in connection.execute(query, keys):
                        found[views[place], key] = (instant, values)
            finally:
                if len(queries) > 1:
                    connection.execute("COMMIT")
        return [found.get(each) for each in asked]

    def close(self) -> None:
        """Closes the file, whose content is then in it alone; it is opened again when it is used."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _connection(self, mode: str = "rw") -> sqlite3.Connection:
        if self._opened is None:
            address = f"{self._path.absolute().as_uri()}?mode={mode}"
            self._opened = sqlite3.connect(
                address, uri=True, timeout=SECONDS_TO_WAIT, isolation_level=None, check_same_thread=False
            )
            self._opened.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._opened.execute(f"PRAGMA synchronous = {'FULL' if self._synced else 'NORMAL'}")
        return self._opened

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, databases.named(self._path):
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _queries(asked: Sequence[tuple[str, bytes]]) -> Iterator[tuple[list[str], str, list[bytes]]]:
    """The fewest queries for all keys: the views that each reads, its text, and its parameters."""
    by_view: dict[str, dict[bytes, None]] = {}
    count = 0
    for view, key in asked:
        if count == KEYS_PER_QUERY or (len(by_view) == VIEWS_PER_QUERY and view not in by_view):
            yield _query(by_view)
            by_view, count = {}, 0
        keys = by_view.setdefault(view, {})
        if key not in keys:
            keys[key] = None
            count += 1
    if by_view:
        yield _query(by_view)


def _query(by_view: dict[str, dict[bytes, None]]) -> tuple[list[str], str, list[bytes]]:
    selects = [
        f"SELECT {place}, entity_key, event_ts, feature_values FROM {_quoted(view)} "
        f"WHERE entity_key IN ({', '.join('?' * len(keys))})"
        for place, (view, keys) in enumerate(by_view.items())
    ]
    return list(by_view), " UNION ALL ".join(selects), [key for keys in by_view.values() for key in keys]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
