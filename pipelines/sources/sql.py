"""Tables of transactional databases: the whole table as snapshots, or its changes by a cursor column as increments."""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.errors import LandingError
from pipelines.retrying import Backoff
from pipelines.sources.base import Extracted, day, file_stem, instant, newest
from pipelines.sources.cursor_texts import refuse_unordered
from pipelines.sources.database import OpenTable, opened
from pipelines.sources.watermark import Lateness, earlier, is_ahead


@dataclass(frozen=True, slots=True)
class SqlSnapshot:
    """A whole table, read in one transaction and sorted by its primary key; for `snapshot` silver tables.

    Equal content gives equal bytes, and a snapshot that equals the last landed one is not landed again. Each snapshot
    has an interval of its own, so the newest one is the table at that time: rows that it lacks were deleted.

    Args:
        connection: Name of the address in GOLDPATH_SOURCES.
        table: Its name, after its schema and a dot if it is not in the default schema.
        backoff: How often and how long to retry a connection.
    """

    connection: str
    table: str
    kind: str = "sql"
    backoff: Backoff = field(default_factory=Backoff)

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The table as one JSON lines file; nothing if it has not changed."""
        before = position or {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "snapshot"
            source = f"connection {self.connection!r}"
            with opened(str(connection), self.table, source=source, backoff=self.backoff) as table:
                rows, sha256 = _write(table, path)
            if sha256 != before.get("sha256"):
                interval = instant(now, before.get("interval", ""))
                yield Extracted(
                    interval, f"{file_stem(self.table)}.jsonl", path, rows, {"sha256": sha256, "interval": interval}
                )


@dataclass(frozen=True, slots=True)
class SqlCursor:
    """The rows whose cursor column has increased since the last delivery; for `increment` silver tables.

    The position is the last (cursor, primary key) that was read, so rows may have equal cursor values. A transaction
    may commit a cursor value that is lower than the position. For these, the rows within `lateness` before the position
    are read again, and land once more if they have changed. A row whose cursor is further in the future lands too, in a
    delivery of its own and again whenever it has changed; the position stays before it. Deleted rows are not detected;
    `SqlSnapshot` shows them.

    Args:
        connection: Name of the address in GOLDPATH_SOURCES.
        table: Its name, after its schema and a dot if it is not in the default schema.
        cursor: A column that each change of a row increases: a timestamp, a date or a number, without NULLs.
        lateness: The longest time between setting a cursor value and committing it, in the cursor's unit.
        rows_per_file: Rows after which a delivery ends and the next begins.
        backoff: How often and how long to retry a connection.
    """

    connection: str
    table: str
    cursor: str = "updated_at"
    lateness: Lateness = timedelta(minutes=5)
    rows_per_file: int = 100_000
    kind: str = "sql"
    backoff: Backoff = field(default_factory=Backoff)

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The new and changed rows, sorted by (cursor, key), as JSON lines files of bounded size."""
        source = f"connection {self.connection!r}"
        with (
            tempfile.TemporaryDirectory() as folder,
            opened(str(connection), self.table, source=source, backoff=self.backoff) as table,
        ):
            path = Path(folder) / "increment"
            with path.open("wb") as file:
                for rows, reached in self._increments(table, position or {}, file, now):
                    file.flush()
                    yield Extracted(
                        day(now), self._file_name(reached), path, rows, reached, newest(reached.get("cursor"))
                    )
                    file.seek(0)
                    file.truncate()

    def _increments(
        self, table: OpenTable, before: Mapping[str, Any], file: BinaryIO, now: datetime
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Fills the file with one delivery after another; yields the number of its rows and the position behind them.

        The rows within `lateness` before the position come first, then the fresh rows. A digest of the former, which
        the position holds, says whether they have changed.
        """
        window: deque[tuple[Any, bytes]] = deque()
        rows, again = 0, "cursor" in before  # `again` while rows are read that an earlier extraction has read
        reached = dict(before)
        ahead, digest, newest_ahead = 0, hashlib.sha256(), None
        for line, (value, *key, fresh) in self._stream(table, before):
            if is_ahead(value, self.lateness, now=now):
                if not ahead:  # they come last
                    if again:
                        again, rows = False, _unless_landed(rows, window, before, file)
                    if rows:
                        yield rows, reached
                ahead, newest_ahead = ahead + 1, value
                digest.update(line)
                file.write(line)
                continue
            if again and fresh:
                again, rows = False, _unless_landed(rows, window, before, file)
            window.append((value, hashlib.sha256(line).digest()))
            file.write(line)
            rows += 1
            reached = self._position(window, value, key) | {"ahead": before.get("ahead")}
            if rows >= self.rows_per_file and not again:
                yield rows, reached
                rows = 0
        if ahead:
            seen = {"rows": ahead, "newest": _encoded(newest_ahead), "sha256": digest.hexdigest()}
            if seen != before.get("ahead"):
                yield ahead, {**reached, "ahead": seen}
            return
        if again:
            rows = _unless_landed(rows, window, before, file)
        if rows:
            yield rows, {**reached, "ahead": None}

    def _stream(self, table: OpenTable, before: Mapping[str, Any]) -> Iterator[tuple[bytes, Any]]:
        """The rows from `lateness` before a position on, each with cursor value, key, and whether it is behind it."""
        import sqlalchemy as sa

        cursor = table.column(self.cursor)
        keys = [table.columns[name] for name in table.key]
        self._refuse_nulls(table, cursor)
        refuse_unordered(table, cursor, name=self._name)
        typed = table.line is not None
        selected_keys = [sa.cast(column, sa.Text) for column in keys] if typed else keys
        where, fresh = None, sa.true()
        if "cursor" in before:
            kind = table.types[self.cursor]
            value = _decoded(before["cursor"], kind.python_type) if typed else before["cursor"]
            bound = earlier(value, self.lateness, cursor=self._name)
            last = [
                sa.cast(sa.literal(part, sa.Text), table.types[name]) if typed else sa.literal(_decoded(part, object))
                for name, part in zip(table.key, before["key"], strict=True)
            ]
            where = cursor >= (sa.literal(bound, kind) if typed else sa.literal(bound))
            known = sa.literal(value, kind) if typed else sa.literal(value)
            fresh = sa.tuple_(cursor, *keys) > sa.tuple_(known, *last)
        return table.stream(cursor, *selected_keys, fresh, where=where, order=[cursor, *keys])

    def _refuse_nulls(self, table: OpenTable, cursor: Any) -> None:
        """Raises LandingError if the cursor is NULL in a row."""
        if self.cursor in table.nullable and (nulls := table.count(cursor.is_(None))):
            raise LandingError(
                object=self._name,
                observed=f"NULL in {nulls} rows, which no increment would contain",
                expected="a value in each row",
                next_step="fill them in the source and make the column NOT NULL, or take a SqlSnapshot of the table",
            )

    def _position(self, window: deque[tuple[Any, bytes]], value: Any, key: list[Any]) -> dict[str, Any]:
        """The position behind a row; drops from the window what is not within `lateness` before it."""
        start = earlier(value, self.lateness, cursor=self._name)
        while window[0][0] < start:
            window.popleft()
        return {"cursor": _encoded(value), "key": [_encoded(part) for part in key], "window": _digest(window)}

    def _file_name(self, position: Mapping[str, Any]) -> str:
        return f"{file_stem(self.table)}_{file_stem(str(position.get('cursor', 'ahead')))}.jsonl"

    @property
    def _name(self) -> str:
        return f"cursor {self.cursor!r} of source table {self.table}"


def _unless_landed(rows: int, window: deque[tuple[Any, bytes]], before: Mapping[str, Any], file: BinaryIO) -> int:
    """Empties the file if its rows equal those that were read before; returns the number of rows left in it."""
    if _digest(window) != before["window"]:
        return rows
    file.seek(0)
    file.truncate()
    return 0


def _digest(window: deque[tuple[Any, bytes]]) -> str:
    return hashlib.sha256(b"".join(digest for _, digest in window)).hexdigest()


def _encoded(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return str(value) if isinstance(value, Decimal) else value


def _decoded(value: Any, kind: type) -> Any:
    """The value of a Python type that `_encoded` has encoded."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if issubclass(kind, date):
        return kind.fromisoformat(value)
    return Decimal(value) if kind is Decimal else value


def _write(table: OpenTable, path: Path) -> tuple[int, str]:
    """Writes all rows of a table to a file; returns their number and the file's SHA-256."""
    import sqlalchemy as sa

    keyless = [sa.cast(column, sa.Text) for column in table.columns.values()]
    order = [table.columns[name] for name in table.key] or keyless
    digest, rows = hashlib.sha256(), 0
    with path.open("wb") as file:
        for line, _ in table.stream(order=order):
            digest.update(line)
            file.write(line)
            rows += 1
    return rows, digest.hexdigest()
