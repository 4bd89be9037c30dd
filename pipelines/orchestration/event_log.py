"""Dagster's SQLite event log with connections that stay open, and one transaction for a batch of events.

A run over 300 days has an event for each day of each table; stored one by one, each in connections of its own, they
take longer than the tables. `DAGSTER_EVENT_BATCH_SIZE` makes Dagster pass events in batches, but its own SQLite storage
still stores each by itself.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster
from dagster import Field, StringSource
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from sqlalchemy.event import listen

from pipelines.machine import files

if TYPE_CHECKING:
    from dagster import EventLogEntry
    from dagster._config import UserConfigSchema
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy.engine import Connection, Engine

#: So many database files stay open: the index, and those of the runs that were written or read last.
OPEN_FILES = 8


def _kind(event: EventLogEntry) -> tuple[bool, str]:
    """Whether an event is one of an asset, which the index has too, and its run."""
    return event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS, event.run_id


def _is_empty(path: Path) -> bool:
    """Whether a file is an undamaged database with Dagster's tables and no event, which another process may store."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            [(found,)] = connection.execute("PRAGMA quick_check")
            counts = "SELECT (SELECT count(*) FROM alembic_version), (SELECT count(*) FROM event_logs)"
            return found == "ok" and connection.execute(counts).fetchone() == (1, 0)
    except sqlite3.DatabaseError:
        return False


def _without_sync(connection: Any, _record: Any) -> None:
    """Lets a commit not wait for the disk: a loss of power may take back the last events, and leaves the file whole."""
    connection.execute("PRAGMA synchronous=NORMAL").close()


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """SQLite storage that keeps files open, and one connection and transaction per file while it stores a batch.

    The last connection that closes a file folds its write-ahead log into it, which takes longer than an event.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        #: The batch that this thread stores: open connections by database file, and the stack that closes them.
        self._batch = threading.local()
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._engines_lock = threading.Lock()
        #: The tables of the index, and the columns of its table of assets, that were seen.
        self._seen: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> BatchedSqliteEventLogStorage:
        """The storage in the folder that the instance file names; by default in Dagster's home of now."""
        folder = config_value.get("base_dir") or str(Path(os.environ["DAGSTER_HOME"], "history", "runs"))
        return cls(folder, inst_data)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores all events of the batch, or none if one of them fails."""
        with ExitStack() as stack:
            self._batch.connections, self._batch.stack, self._batch.newest = {}, stack, {}
            try:
                for (of_assets, _), group in itertools.groupby(events, key=_kind):
                    if of_assets:
                        self._store_asset_events(list(group))
                    else:
                        super().store_event_batch(list(group))
                newest, self._batch.newest = self._batch.newest, None
                for event, event_id in newest.values():
                    self.store_asset_event(event, event_id)
            finally:
                self._batch.connections = self._batch.newest = None

    def _store_asset_events(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events of assets and of one run, in their order, by one statement for each file."""
        rows = [self._event_to_row(event) for event in events]
        insert = SqlEventLogStorageTable.insert()
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(insert, rows)
        with self.index_connection() as connection:
            inserted = insert.returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
            event_ids = [int(event_id) for event_id in connection.execute(inserted, rows).scalars()]
            self._store_asset_event_tags(connection, events, event_ids)
            for event, event_id in zip(events, event_ids, strict=True):
                self._store_asset_event(connection, event, event_id)

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """Notes an event as the newest of its asset; of a batch only the last one of each kind is noted, at its end.

        What an asset's row holds depends on the last event of each kind, and in which order they came.
        """
        newest = getattr(self._batch, "newest", None)
        if newest is None or event.dagster_event is None:
            super()._store_asset_event(conn, event, event_id)
            return
        of_this_kind = event.dagster_event.asset_key, event.dagster_event.event_type_value
        newest.pop(of_this_kind, None)
        newest[of_this_kind] = event, event_id

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table, for which Dagster asks at each event; one that was seen is there."""
        of_class = super().has_table
        return self._is_there(table_name, lambda: of_class(table_name))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        of_class = super()._has_asset_key_col_on_connection
        return self._is_there(f"column {column_name}", lambda: of_class(conn, column_name))

    def _is_there(self, name: str, look: Callable[[], bool]) -> bool:
        if name not in self._seen and look():
            self._seen.add(name)
        return name in self._seen

    def dispose(self) -> None:
        """Closes all files."""
        super().dispose()
        with self._engines_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        connections = getattr(self._batch, "connections", None)
        if connections is None:
            with self._transaction(shard) as connection:
                yield connection
            return
        if shard not in connections:
            connections[shard] = self._batch.stack.enter_context(self._transaction(shard))
        yield connections[shard]

    @contextmanager
    def _transaction(self, shard: str) -> Iterator[Connection]:
        """A connection to a file with an open transaction, which is committed at the end without an error."""
        with self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Engine:
        """The open file; it is opened, and created, on first use, and the one is closed that was used longest ago."""
        from dagster._core.storage.sql import create_engine
        from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

        with self._engines_lock:
            engine = self._engines.pop(shard, None)
            if not Path(self.path_for_shard(shard)).exists():  # upkeep removes the events of old runs
                self._initialized_dbs.discard(shard)
                if engine is not None:
                    engine.dispose()
                    engine = None
            if engine is None:
                if self._copied(shard):
                    self._initialized_dbs.add(shard)
                # One connection stays open; threads that come meanwhile get others, and none of them waits.
                engine = create_engine(
                    self.conn_string_for_shard(shard),
                    connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
                    pool_size=1,
                    max_overflow=-1,
                )
                listen(engine, "connect", _without_sync)
            if shard not in self._initialized_dbs:
                is_new = not Path(self.path_for_shard(shard)).exists()
                self._initdb(engine)
                self._initialized_dbs.add(shard)
                if is_new and shard != INDEX_SHARD_NAME:
                    self._keep_empty(engine)
            self._engines[shard] = engine
            if len(self._engines) > OPEN_FILES:
                self._engines.popitem(last=False)[1].dispose()
        return engine

    @property
    def _empty(self) -> Path:
        """A file without events, with the tables of this version of Dagster; new runs get a copy of it."""
        return Path(self._base_dir, f"empty-{dagster.__version__}")

    def _copied(self, shard: str) -> bool:
        """Whether the file of a new run was made here: Alembic would take longer for it than a run over a day takes."""
        path = Path(self.path_for_shard(shard))
        if shard == INDEX_SHARD_NAME or path.exists() or not self._empty.exists():
            return False
        copy = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            shutil.copyfile(self._empty, copy)
            if not _is_empty(copy):
                self._empty.unlink(missing_ok=True)
                return False
            os.link(copy, path)  # fails where another process has made it meanwhile
        except FileExistsError:
            return False
        finally:
            copy.unlink(missing_ok=True)
        return True

    def _keep_empty(self, engine: Engine) -> None:
        """Keeps a copy of a run's file that has no events yet."""
        with files.replacing(self._empty) as copy, engine.connect() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(copy),))
            with closing(sqlite3.connect(copy)) as kept:
                kept.execute("PRAGMA journal_mode=WAL")  # the copies have it, so that no process has to lock one for it
