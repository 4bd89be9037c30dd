"""Dagster's SQLite event log, with one transaction for a batch of events instead of several for each.

A run over 300 days tells Dagster of each day of each table. Stored one by one, that costs more than the tables.
`DAGSTER_EVENT_BATCH_SIZE` makes Dagster hand events over in batches; its SQLite storage then still stores them singly.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster._core.storage.event_log import SqliteEventLogStorage

if TYPE_CHECKING:
    from dagster import EventLogEntry
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy.engine import Connection


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """SQLite storage that keeps one connection and one transaction per database file while it stores a batch."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._held = threading.local()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> BatchedSqliteEventLogStorage:
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores all events or none."""
        with ExitStack() as stack:
            self._held.connections, self._held.stack = {}, stack
            try:
                super().store_event_batch(events)
            finally:
                self._held.connections = None

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if not Path(self.path_for_shard(shard)).exists():
            self._initialized_dbs.discard(shard)  # upkeep removed the events of an old run
        held = getattr(self._held, "connections", None)
        if held is None:
            with super()._connect(shard) as connection:
                yield connection
            return
        if shard not in held:
            # The lock of the base class is not reentrant, and a batch needs two files at once.
            held[shard] = self._held.stack.enter_context(_open(self, shard))
        yield held[shard]


@contextmanager
def _open(storage: BatchedSqliteEventLogStorage, shard: str) -> Iterator[Connection]:
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
