"""Dagster's SQLite event log with one transaction for a batch of events, instead of several for each event.

A run over 300 days has an event for each day of each table; stored one by one, they take longer than the tables.
`DAGSTER_EVENT_BATCH_SIZE` makes Dagster pass events in batches, but its own SQLite storage still stores each by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import Field, StringSource
from dagster._core.storage.event_log import SqliteEventLogStorage

if TYPE_CHECKING:
    from dagster import EventLogEntry
    from dagster._config import UserConfigSchema
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy.engine import Connection


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """SQLite storage that keeps one connection and one transaction per database file while it stores a batch."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        #: The batch that this thread stores: open connections by database file, and the stack that closes them.
        self._batch = threading.local()
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
            self._batch.connections, self._batch.stack = {}, stack
            try:
                super().store_event_batch(events)
            finally:
                self._batch.connections = None

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if not Path(self.path_for_shard(shard)).exists():
            self._initialized_dbs.discard(shard)  # upkeep removed the events of an old run
        connections = getattr(self._batch, "connections", None)
        if connections is None:
            with super()._connect(shard) as connection:
                yield connection
            return
        if shard not in connections:
            # Not by the base class: its lock is not reentrant, and a batch needs two files at the same time.
            connections[shard] = self._batch.stack.enter_context(_open(self, shard))
        yield connections[shard]


@contextmanager
def _open(storage: BatchedSqliteEventLogStorage, shard: str) -> Iterator[Connection]:
    """A connection to a database file with an open transaction, which is committed at the end without an error."""
    from dagster._core.storage.sql import create_engine
    from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
    from sqlalchemy.pool import NullPool

    with SqliteEventLogStorage._connect(storage, shard):
        pass  # creates the file and its tables on first use
    engine = create_engine(
        storage.conn_string_for_shard(shard), poolclass=NullPool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
    )
    with engine.connect() as connection, connection.begin():
        yield connection
    engine.dispose()
