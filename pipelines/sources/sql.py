"""Tables of transactional databases: whole, as a snapshot, or by a cursor column, as increments."""

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
from pipelines.sources.database import OpenTable, opened
from pipelines.sources.watermark import Lateness, earlier


@dataclass(frozen=True, slots=True)
class SqlSnapshot:
    """A whole table, in one read transaction and ordered by its primary key; for `snapshot` silver tables.

    Equal content gives equal bytes, and a snapshot that equals the one that landed last is not landed again. Each has
    an interval of its own, so the newest is the table as it was then: what it no longer holds was deleted.
    """

    connection: str
    table: str
    kind: str = "sql"
    backoff: Backoff = field(default_factory=Backoff)

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The table as it is, as one JSON lines file; nothing if it has not changed."""
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
    """The rows whose cursor column moved on since the last delivery; for `increment` silver tables.

    The position is the last (cursor, primary key) that was read, so equal cursor values are no trouble. A transaction
    that set its cursor earlier but committed later is found within `lateness`: that much is read again behind the
    position, and lands again, once, if it is not what it was. Deletes are not seen; take a `SqlSnapshot` for those.

    Args:
        connection: Name of the address in GOLDPATH_SOURCES.
        table: Its name, with its schema before a dot where it is not in the default one.
        cursor: A column that each change of a row moves forward: a timestamp, a date or a number, without NULLs.
        lateness: The longest that a transaction stays open behind the newest cursor value, in the cursor's unit.
        rows_per_file: Rows after which a delivery ends and the next begins.
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
        """The new and changed rows in the order of (cursor, key), as JSON lines files of bounded size."""
        source = f"connection {self.connection!r}"
        with (
            tempfile.TemporaryDirectory() as folder,
            opened(str(connection), self.table, source=source, backoff=self.backoff) as table,
        ):
            path = Path(folder) / "increment"
            with path.open("wb") as file:
                for rows, reached in self._increments(table, position or {}, file):
                    file.flush()
                    yield Extracted(day(now), self._file_name(reached), path, rows, reached, newest(reached["cursor"]))
                    file.seek(0)
                    file.truncate()

    def _increments(
        self, table: OpenTable, before: Mapping[str, Any], file: BinaryIO
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Fills the file again and again; yields its rows and the position behind them each time it is complete.

        What lies behind `before` comes first, then what is fresh. The digest of the rows within `lateness` of the
        position says whether the former is what it was.
        """
        window: deque[tuple[Any, bytes]] = deque()
        rows, again = 0, bool(before)
        value, key = None, []
        for line, (value, *key, fresh) in self._stream(table, before):
            if again and fresh:
                again, rows = False, _unless_landed(rows, window, before, file)
            window.append((value, hashlib.sha256(line).digest()))
            file.write(line)
            rows += 1
            if rows >= self.rows_per_file and not again:
                yield rows, self._position(window, value, key)
                rows = 0
        if again:
            rows = _unless_landed(rows, window, before, file)
        if rows:
            yield rows, self._position(window, value, key)

    def _stream(self, table: OpenTable, before: Mapping[str, Any]) -> Iterator[tuple[bytes, Any]]:
        """Rows from `lateness` before a position on, each with its cursor value, its key, and whether it is fresh."""
        import sqlalchemy as sa

        cursor = table.column(self.cursor)
        keys = [table.columns[name] for name in table.key]
        self._refuse_nulls(table, cursor)
        typed = table.line is not None
        shown = [sa.cast(column, sa.Text) for column in keys] if typed else keys
        where, fresh = None, sa.true()
        if before:
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
        return table.stream(cursor, *shown, fresh, where=where, order=[cursor, *keys])

    def _refuse_nulls(self, table: OpenTable, cursor: Any) -> None:
        if self.cursor in table.nullable and (nulls := table.count(cursor.is_(None))):
            raise LandingError(
                object=self._name,
                observed=f"NULL in {nulls} rows, which no increment would ever see",
                expected="a value in each row",
                next_step="fill them in the source and make the column NOT NULL, or take a SqlSnapshot of the table",
            )

    def _position(self, window: deque[tuple[Any, bytes]], value: Any, key: list[Any]) -> dict[str, Any]:
        start = earlier(value, self.lateness, cursor=self._name)
        while window[0][0] < start:
            window.popleft()
        return {"cursor": _encoded(value), "key": [_encoded(part) for part in key], "window": _digest(window)}

    def _file_name(self, position: Mapping[str, Any]) -> str:
        return f"{file_stem(self.table)}_{file_stem(str(position['cursor']))}.jsonl"

    @property
    def _name(self) -> str:
        return f"cursor {self.cursor!r} of source table {self.table}"


def _unless_landed(rows: int, window: deque[tuple[Any, bytes]], before: Mapping[str, Any], file: BinaryIO) -> int:
    """Drops the rows that were read again if they are what has landed; returns how many are left."""
    if _digest(window) != before["window"]:
        return rows
    file.seek(0)
    file.truncate()
    return 0


def _digest(window: deque[tuple[Any, bytes]]) -> str:
    return hashlib.sha256(b"".join(digest for _, digest in window)).hexdigest()


def _encoded(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return str(value) if isinstance(value, Decimal) else value


def _decoded(value: Any, kind: type) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if issubclass(kind, date):
        return kind.fromisoformat(value)
    return Decimal(value) if kind is Decimal else value


def _write(table: OpenTable, path: Path) -> tuple[int, str]:
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
