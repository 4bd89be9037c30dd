"""The ledger: what became of each delivery of one source, in one SQLite file beside the tables.

It is a write-ahead log of batches, as in Spark Structured Streaming. A batch names its files before any of them is
read, and counts as taken once the bronze table has its number as app transaction. If a run is killed, its batch is
already planned, and the next run commits exactly that batch: nothing is lost, and nothing is taken twice.
"""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pipelines.errors import CommitConflict, LandingError
from pipelines.landing.delivery import Delivery
from pipelines.machine import databases

Fate = Literal["batch", "duplicate", "refused"]

_TABLES = """
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, planned_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    uri TEXT NOT NULL, interval TEXT NOT NULL, bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL, prefix TEXT, fate TEXT NOT NULL, batch INTEGER, judged_by TEXT NOT NULL,
    noted_at TEXT NOT NULL, code TEXT, observed TEXT, expected TEXT, next_step TEXT,
    PRIMARY KEY (uri, sha256)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_prefix ON deliveries (prefix);
CREATE INDEX IF NOT EXISTS by_batch ON deliveries (batch);
CREATE INDEX IF NOT EXISTS by_interval ON deliveries (interval);
CREATE TABLE IF NOT EXISTS retakes (
    uri TEXT NOT NULL, sha256 TEXT NOT NULL, asked INTEGER NOT NULL, number INTEGER, PRIMARY KEY (uri, sha256)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS touched (
    uri TEXT PRIMARY KEY, interval TEXT NOT NULL, bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settling (
    uri TEXT PRIMARY KEY, bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL, since TEXT NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Batch:
    """Files that are committed together, once; `planned_at` is an ISO 8601 instant, UTC.

    The files of a retake were taken by earlier batches: their rows are replaced, and keep the marks of these batches.
    """

    number: int
    planned_at: str
    deliveries: tuple[Delivery, ...]
    retake: bool = False

    @property
    def ingest_id(self) -> str:
        """The number as bronze rows have it, in `_ingest_id`."""
        return f"{self.number:08d}"

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        """The place of each delivery, by uri, in the order in which they landed."""
        landed = sorted(self.deliveries, key=lambda delivery: (delivery.modified_ns, delivery.uri))
        return {delivery.uri: place for place, delivery in enumerate(landed)}

    def ingested_at(self, delivery: Delivery) -> datetime:
        """The time that the rows of a delivery carry, UTC: when the batch was planned.

        It is a microsecond later for each file of the batch that landed before, so that it orders the batch's files.
        """
        return datetime.fromisoformat(self.planned_at) + timedelta(microseconds=self._places[delivery.uri])


@dataclass(frozen=True, slots=True)
class Record:
    """One delivery and its fate. If it was refused, the last four attributes are those of the error."""

    delivery: Delivery
    fate: Fate
    batch: int | None
    judged_by: str
    noted_at: str
    code: str | None = None
    observed: str | None = None
    expected: str | None = None
    next_step: str | None = None


#: The values of a delivery, and of the rest of its record, in the order of the columns of `deliveries`.
_DELIVERY = operator.attrgetter(*(field.name for field in fields(Delivery)))
_FATE = operator.attrgetter(*(field.name for field in fields(Record)[1:]))


class Ledger:
    """The fates of one bronze table's deliveries.

    `judged_by` is the digest of the contract that decided a fate; for a delivery in a batch, how the contract read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def _connection(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = databases.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.executescript(_TABLES)
        return connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def records(self, *, intervals: Collection[str] | None = None, fate: Fate | None = None) -> list[Record]:
        """The judged deliveries, sorted by uri.

        Args:
            intervals: Only deliveries of these intervals; None for all.
            fate: Only deliveries with this fate; None for all.
        """
        where, values = ["1 = 1"], []
        if intervals is not None:
            where.append("interval IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(sorted(intervals)))
        if fate is not None:
            where.append("fate = ?")
            values.append(fate)
        return self._records(f"WHERE {' AND '.join(where)} ORDER BY uri", values)

    def _records(self, which: str, values: Sequence[object]) -> list[Record]:
        rows = self._connection.execute(f"SELECT * FROM deliveries {which}", values).fetchall()
        return [Record(Delivery(*row[:6]), *row[6:]) for row in rows]

    def taken(self, uris: Collection[str]) -> dict[str, Delivery]:
        """The deliveries with these uris that are in batches, by uri."""
        which = "WHERE uri IN (SELECT value FROM json_each(?)) AND fate = 'batch'"
        return {record.delivery.uri: record.delivery for record in self._records(which, [json.dumps([*uris])])}

    def find(self, prefixes: Collection[str]) -> dict[str, Record]:
        """The records of the deliveries in batches whose rows' record ids begin with these prefixes, by prefix."""
        which = "WHERE prefix IN (SELECT value FROM json_each(?)) AND fate = 'batch'"
        return {str(record.delivery.prefix): record for record in self._records(which, [json.dumps([*prefixes])])}

    def contents(self, *, committed: int) -> dict[str, list[str]]:
        """What the deliveries in batches gave to the table up to a batch, by interval: sorted prefixes, each with the
        number of the batch that read it again, if there is one."""
        contents: dict[str, list[str]] = {}
        query = (
            "SELECT interval, prefix, number FROM deliveries LEFT JOIN retakes USING (uri, sha256) "
            "WHERE fate = 'batch' ORDER BY prefix"
        )
        for interval, prefix, number in self._connection.execute(query):
            again = f" {number}" if number is not None and number <= committed else ""
            contents.setdefault(interval, []).append(prefix + again)
        return contents

    def last_retake(self, *, committed: int) -> int:
        """The number of the last retake up to a batch; -1 if there is none."""
        query = "SELECT coalesce(max(number), -1) FROM retakes WHERE number <= ?"
        return int(self._connection.execute(query, [committed]).fetchone()[0])

    def intervals(self, *, after: int) -> list[str]:
        """The intervals of the deliveries in the batches after that number, sorted."""
        query = "SELECT DISTINCT interval FROM deliveries WHERE fate = 'batch' AND batch > ? ORDER BY interval"
        return [interval for (interval,) in self._connection.execute(query, [after])]

    def sizes(self, *, after: int) -> list[tuple[int, int]]:
        """The number and the size in bytes of each batch after that number."""
        query = (
            "SELECT batch, sum(bytes) FROM deliveries WHERE fate = 'batch' AND batch > ? GROUP BY batch ORDER BY batch"
        )
        return list(self._connection.execute(query, [after]))

    def landed(self, *, after: int, until: int) -> list[float]:
        """When each delivery in the batches after one, up to another, was written to landing, in seconds since 1970."""
        query = "SELECT modified_ns FROM deliveries WHERE fate = 'batch' AND batch > ? AND batch <= ?"
        return [nanoseconds / 1e9 for (nanoseconds,) in self._connection.execute(query, [after, until])]

    def batches(self) -> list[Batch]:
        """Every batch, sorted by number."""
        by_number: dict[int, list[Delivery]] = {}
        for record in self._records("WHERE fate = 'batch' ORDER BY batch, interval, uri", []):
            by_number.setdefault(record.batch or 0, []).append(record.delivery)
        return [Batch(number, self._planned_at(number), tuple(deliveries)) for number, deliveries in by_number.items()]

    def batch_of(self, uri: str) -> int:
        """The number of the batch that took a delivery first; raises StopIteration if none has."""
        return next(record.batch or 0 for record in self._records("WHERE uri = ? AND fate = 'batch'", [uri]))

    def batch(self, number: int) -> Batch:
        """The batch of that number, which is not a retake."""
        records = self._records("WHERE fate = 'batch' AND batch = ? ORDER BY interval, uri", [number])
        return Batch(number, self._planned_at(number), tuple(record.delivery for record in records))

    def pending(self, *, committed: int) -> Batch | None:
        """The first batch after the last committed one, which a killed run had planned; None if there is none."""
        query = (
            "SELECT min(number) FROM (SELECT batch AS number FROM deliveries WHERE fate = 'batch' "
            "UNION SELECT number FROM retakes) WHERE number > ?"
        )
        number = self._connection.execute(query, [committed]).fetchone()[0]
        if number is None:
            return None
        retaken = self._records(
            "WHERE (uri, sha256) IN (SELECT uri, sha256 FROM retakes WHERE number = ?) ORDER BY interval, uri", [number]
        )
        if not retaken:
            return self.batch(number)
        return Batch(number, self._planned_at(number), tuple(record.delivery for record in retaken), retake=True)

    def _planned_at(self, number: int) -> str:
        return str(self._connection.execute("SELECT planned_at FROM batches WHERE number = ?", [number]).fetchone()[0])

    def last(self) -> int:
        """The number of the last planned batch; -1 before the first."""
        number = self._connection.execute("SELECT max(number) FROM batches").fetchone()[0]
        return -1 if number is None else int(number)

    def adopt(self, records: Sequence[Record], *, committed: int) -> None:
        """Adds batches that were committed when there was another ledger; `committed` is the number of the last one."""
        with self._writing() as connection:
            rows = {committed: datetime.now(UTC).isoformat()} | {r.batch: r.noted_at for r in records}
            connection.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?)", list(rows.items()))
            self._note(connection, records)

    def plan(self, deliveries: Sequence[Delivery], *, committed: int, judged_by: str) -> Batch:
        """Adds the next batch: these deliveries, each with its checksum and prefix.

        Raises:
            CommitConflict: if another writer has planned that batch since.
        """
        with self._planning(Batch(committed + 1, datetime.now(UTC).isoformat(), tuple(deliveries))) as batch:
            self._note(
                self._connection, [Record(d, "batch", batch.number, judged_by, batch.planned_at) for d in deliveries]
            )
        return batch

    @contextlib.contextmanager
    def _planning(self, batch: Batch) -> Iterator[Batch]:
        """Adds a batch, and what the block writes about its deliveries, unless another batch is pending."""
        with self._writing() as connection:
            other = self.pending(committed=batch.number - 1)
            if other is not None:
                raise CommitConflict(
                    object=f"ledger {self.path}",
                    observed=f"batch {other.number} of {len(other.deliveries)} files was planned by another writer",
                    expected=f"batch {batch.number} to be the next",
                    next_step="nothing is lost: the run is tried again, and takes that batch if the other has not",
                )
            connection.execute("INSERT OR REPLACE INTO batches VALUES (?, ?)", [batch.number, batch.planned_at])
            yield batch

    def ask_retake(
        self, *, uris: Collection[str] | None = None, intervals: Collection[str] | None = None
    ) -> list[Delivery]:
        """Lets the next run read deliveries of batches again, and replace their rows; returns them.

        Args:
            uris: Only these deliveries; None for all.
            intervals: Only deliveries of these intervals; None for all.
        """
        records = self.records(intervals=intervals, fate="batch")
        deliveries = [r.delivery for r in records if uris is None or r.delivery.uri in uris]
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO retakes VALUES (?, ?, 1, NULL) ON CONFLICT DO UPDATE SET asked = 1",
                [(d.uri, d.sha256) for d in deliveries],
            )
        return deliveries

    def asked_retakes(self) -> list[Record]:
        """The deliveries that are to be read again, sorted by interval and uri."""
        which = "WHERE fate = 'batch' AND (uri, sha256) IN (SELECT uri, sha256 FROM retakes WHERE asked)"
        return self._records(f"{which} ORDER BY interval, uri", [])

    def plan_retake(self, deliveries: Sequence[Delivery], *, committed: int, judged_by: str) -> Batch:
        """Adds the next batch: a retake of these deliveries. Raises CommitConflict as `plan` does."""
        planned = Batch(committed + 1, datetime.now(UTC).isoformat(), tuple(deliveries), retake=True)
        with self._planning(planned) as batch:
            keys = [(d.uri, d.sha256) for d in deliveries]
            self._connection.executemany(
                "UPDATE retakes SET asked = 0, number = ? WHERE uri = ? AND sha256 = ?",
                [(batch.number, *key) for key in keys],
            )
            self._connection.executemany(
                "UPDATE deliveries SET judged_by = ? WHERE uri = ? AND sha256 = ?", [(judged_by, *key) for key in keys]
            )
        return batch

    def ask_again(self, retake: Batch) -> None:
        """Turns a retake that a killed run had planned into a wish again."""
        with self._writing() as connection:
            connection.execute("UPDATE retakes SET asked = 1, number = NULL WHERE number = ?", [retake.number])

    def forget_retake(self, delivery: Delivery) -> None:
        """Leaves the rows of a delivery as they are, although it was to be read again."""
        with self._writing() as connection:
            key = (delivery.uri, delivery.sha256)
            connection.execute("DELETE FROM retakes WHERE uri = ? AND sha256 = ?", key)
            connection.execute("UPDATE deliveries SET judged_by = 'reading' WHERE uri = ? AND sha256 = ?", key)

    def read_otherwise(self, reading: str) -> list[Delivery]:
        """The deliveries in batches that were read by other options of the contract, and are not asked again yet."""
        which = "WHERE fate = 'batch' AND judged_by LIKE 'reading%' AND judged_by <> ?"
        asked = {(r.delivery.uri, r.delivery.sha256) for r in self.asked_retakes()}
        return [r.delivery for r in self._records(which, [reading]) if (r.delivery.uri, r.delivery.sha256) not in asked]

    def duplicates(self, deliveries: Sequence[Delivery], *, judged_by: str) -> None:
        """Adds files whose content was taken before under another name."""
        now = datetime.now(UTC).isoformat()
        with self._writing() as connection:
            self._note(connection, [Record(d, "duplicate", None, judged_by, now) for d in deliveries])

    def touch(self, delivery: Delivery) -> None:
        """Records the present size and time of a file in a batch whose content is the same as it was."""
        with self._writing() as connection:
            now = (delivery.uri, delivery.interval, delivery.bytes, delivery.modified_ns)
            connection.execute("INSERT OR REPLACE INTO touched VALUES (?, ?, ?, ?)", now)

    def judged(self, intervals: Collection[str], *, judged_by: str) -> set[tuple[str, int, int]]:
        """Uri, size and time of the files of these intervals that need no judgement: those with a fate, except that of
        being refused by another than `judged_by`, and those that were touched after they were taken.
        """
        query = (
            "SELECT uri, bytes, modified_ns FROM deliveries WHERE interval IN (SELECT value FROM json_each(?1)) "
            "AND (fate <> 'refused' OR judged_by = ?2) UNION ALL "
            "SELECT uri, bytes, modified_ns FROM touched WHERE interval IN (SELECT value FROM json_each(?1))"
        )
        return set(self._connection.execute(query, [json.dumps(sorted(intervals)), judged_by]).fetchall())

    def unchanged_since(self, delivery: Delivery) -> datetime:
        """When a run first saw the file with its present size and time, by this machine's clock, UTC."""
        with self._writing() as connection:
            seen = (delivery.uri, delivery.bytes, delivery.modified_ns)
            query = "SELECT since FROM settling WHERE uri = ? AND bytes = ? AND modified_ns = ?"
            row = connection.execute(query, seen).fetchone() or (datetime.now(UTC).isoformat(),)
            connection.execute("INSERT OR REPLACE INTO settling VALUES (?, ?, ?, ?)", [*seen, *row])
        return datetime.fromisoformat(row[0])

    def refuse(self, delivery: Delivery, code: str, error: LandingError, *, judged_by: str) -> None:
        """Adds a file that is not taken, with the reason; it is judged again once the file or the contract changes."""
        now = datetime.now(UTC).isoformat()
        words = (code, error.observed, error.expected, error.next_step)
        with self._writing() as connection:
            self._note(connection, [Record(delivery, "refused", None, judged_by, now, *words)])
            self._judge_duplicates_again(connection, [delivery])

    def forget_refused(self, uris: Collection[str] | None = None) -> int:
        """Removes refused files, so that the next run judges them again; returns how many. None stands for all."""
        with self._writing() as connection:
            keys = connection.execute("SELECT uri, sha256 FROM deliveries WHERE fate = 'refused'").fetchall()
            keys = [key for key in keys if uris is None or key[0] in uris]
            connection.executemany("DELETE FROM deliveries WHERE uri = ? AND sha256 = ?", keys)
        return len(keys)

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Removes files, which changed while they were read, from a batch that is not committed."""
        with self._writing() as connection:
            connection.executemany(
                "DELETE FROM deliveries WHERE uri = ? AND sha256 = ?", [(d.uri, d.sha256) for d in deliveries]
            )
            self._judge_duplicates_again(connection, deliveries)

    def _judge_duplicates_again(self, connection: sqlite3.Connection, deliveries: Sequence[Delivery]) -> None:
        """Removes the duplicates of files that are in no batch any more: one of them may be taken instead."""
        connection.executemany(
            "DELETE FROM deliveries WHERE prefix = ?1 AND fate = 'duplicate' "
            "AND NOT EXISTS (SELECT 1 FROM deliveries WHERE prefix = ?1 AND fate = 'batch')",
            [(delivery.prefix,) for delivery in deliveries],
        )

    def _note(self, connection: sqlite3.Connection, records: Sequence[Record]) -> None:
        rows = [(*_DELIVERY(record.delivery), *_FATE(record)) for record in records]
        connection.executemany(f"INSERT OR REPLACE INTO deliveries VALUES ({', '.join('?' * 14)})", rows)
