"""The ledger: what became of each delivery of one source, in one SQLite file beside the tables.

It is a write-ahead log of batches, as in Spark Structured Streaming: a batch names its files before any of them is
read, and counts as taken once the bronze table carries its number as app transaction. A killed run's batch is planned
already, and the next run commits exactly that one: nothing is lost, nothing is taken twice.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pipelines.errors import CommitConflict, LandingError
from pipelines.landing.delivery import Delivery

Fate = Literal["batch", "duplicate", "refused"]

_TABLES = """
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, planned_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    uri TEXT NOT NULL, interval TEXT NOT NULL, bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL, prefix TEXT, fate TEXT NOT NULL, batch INTEGER, judged_by TEXT NOT NULL,
    noted_at TEXT NOT NULL, code TEXT, observed TEXT, expected TEXT, next_step TEXT,
    PRIMARY KEY (uri, sha256)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_content ON deliveries (sha256);
CREATE INDEX IF NOT EXISTS by_prefix ON deliveries (prefix);
CREATE INDEX IF NOT EXISTS by_batch ON deliveries (batch);
CREATE INDEX IF NOT EXISTS by_interval ON deliveries (interval);
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are committed together, once."""

    number: int
    planned_at: str
    deliveries: tuple[Delivery, ...]

    @property
    def ingest_id(self) -> str:
        return f"{self.number:08d}"


@dataclass(frozen=True, slots=True)
class Record:
    """One delivery and its fate; a refused one with the reason, as errors give it."""

    delivery: Delivery
    fate: Fate
    batch: int | None
    judged_by: str
    noted_at: str
    code: str | None = None
    observed: str | None = None
    expected: str | None = None
    next_step: str | None = None


class Ledger:
    """The fates of one bronze table's deliveries. `judged_by` is the digest of the contract that decided."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def _connection(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
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
        """The deliveries that were seen, by uri; only of some intervals, or of one fate."""
        where, values = ["1 = 1"], []
        if intervals is not None:
            where.append("interval BETWEEN ? AND ?")
            values += [min(intervals, default=""), max(intervals, default="")]
        if fate is not None:
            where.append("fate = ?")
            values.append(fate)
        return self._records(f"WHERE {' AND '.join(where)} ORDER BY uri", values)

    def _records(self, which: str, values: Sequence[object]) -> list[Record]:
        rows = self._connection.execute(f"SELECT * FROM deliveries {which}", values)
        return [Record(Delivery(*row[:6]), *row[6:]) for row in rows]

    def taken(self, uri: str) -> Delivery | None:
        """The delivery of that uri that is in a batch."""
        found = self._records("WHERE uri = ? AND fate = 'batch'", [uri])
        return found[0].delivery if found else None

    def find(self, prefix: str) -> Record | None:
        """The delivery that was taken whose rows' record ids begin so."""
        found = self._records("WHERE prefix = ? AND fate = 'batch'", [prefix])
        return found[0] if found else None

    def contents(self) -> dict[str, list[str]]:
        """What was taken for each interval: the prefixes of its deliveries, sorted."""
        found: dict[str, list[str]] = {}
        rows = self._connection.execute("SELECT interval, prefix FROM deliveries WHERE fate = 'batch' ORDER BY prefix")
        for interval, prefix in rows:
            found.setdefault(interval, []).append(prefix)
        return found

    def intervals(self, *, after: int) -> list[str]:
        """The intervals of which the batches after that number hold anything."""
        query = "SELECT DISTINCT interval FROM deliveries WHERE fate = 'batch' AND batch > ? ORDER BY interval"
        return [interval for (interval,) in self._connection.execute(query, [after])]

    def sizes(self, *, after: int) -> list[tuple[int, int]]:
        """Number and bytes of each batch after that number."""
        query = (
            "SELECT batch, sum(bytes) FROM deliveries WHERE fate = 'batch' AND batch > ? GROUP BY batch ORDER BY batch"
        )
        return list(self._connection.execute(query, [after]))

    def batches(self) -> list[Batch]:
        """Every batch, by number."""
        found: dict[int, list[Delivery]] = {}
        for record in self._records("WHERE fate = 'batch' ORDER BY batch, interval, uri", []):
            found.setdefault(record.batch or 0, []).append(record.delivery)
        return [Batch(number, self._planned_at(number), tuple(deliveries)) for number, deliveries in found.items()]

    def pending(self, *, committed: int) -> Batch | None:
        """The batch after the last committed one that a killed run had planned, if there is one."""
        found = self._records("WHERE fate = 'batch' AND batch > ? ORDER BY batch, interval, uri", [committed])
        mine = [record.delivery for record in found if record.batch == found[0].batch]
        return Batch(found[0].batch or 0, self._planned_at(found[0].batch or 0), tuple(mine)) if found else None

    def _planned_at(self, number: int) -> str:
        return str(self._connection.execute("SELECT planned_at FROM batches WHERE number = ?", [number]).fetchone()[0])

    def last(self) -> int:
        """The number of the last batch; -1 before the first."""
        found = self._connection.execute("SELECT max(number) FROM batches").fetchone()[0]
        return -1 if found is None else int(found)

    def adopt(self, records: Sequence[Record], *, committed: int) -> None:
        """Notes batches that were committed without this ledger, up to the last one."""
        with self._writing() as connection:
            rows = {committed: datetime.now(UTC).isoformat()} | {r.batch: r.noted_at for r in records}
            connection.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?)", list(rows.items()))
            self._note(connection, records)

    def plan(self, deliveries: Sequence[Delivery], *, committed: int, judged_by: str) -> Batch:
        """Writes down the next batch: these deliveries, each with its checksum.

        Raises:
            CommitConflict: if another writer has planned that batch meanwhile.
        """
        batch = Batch(committed + 1, datetime.now(UTC).isoformat(), tuple(deliveries))
        with self._writing() as connection:
            other = self.pending(committed=committed)
            if other is not None:
                raise CommitConflict(
                    object=f"ledger {self.path}",
                    observed=f"batch {other.number} of {len(other.deliveries)} files was planned by another writer",
                    expected=f"batch {batch.number} to be the next",
                    next_step="nothing is lost: the run is tried again, and takes that batch if the other has not",
                )
            connection.execute("INSERT OR REPLACE INTO batches VALUES (?, ?)", [batch.number, batch.planned_at])
            self._note(connection, [Record(d, "batch", batch.number, judged_by, batch.planned_at) for d in deliveries])
        return batch

    def duplicates(self, deliveries: Sequence[Delivery], *, judged_by: str) -> None:
        """Notes files whose content was taken under another name, or that were only touched."""
        now = datetime.now(UTC).isoformat()
        with self._writing() as connection:
            self._note(connection, [Record(d, "duplicate", None, judged_by, now) for d in deliveries])

    def refuse(self, delivery: Delivery, code: str, error: LandingError, *, judged_by: str) -> None:
        """Notes that a file is not taken, and why; it is looked at again once it, or the contract, has changed."""
        now = datetime.now(UTC).isoformat()
        words = (code, error.observed, error.expected, error.next_step)
        with self._writing() as connection:
            self._note(connection, [Record(delivery, "refused", None, judged_by, now, *words)])

    def forget_refused(self, uris: Collection[str] | None = None) -> int:
        """Lets refused files be looked at again; returns how many. A delivery that was taken stays taken."""
        with self._writing() as connection:
            gone = connection.execute("SELECT uri, sha256 FROM deliveries WHERE fate = 'refused'").fetchall()
            gone = [key for key in gone if uris is None or key[0] in uris]
            connection.executemany("DELETE FROM deliveries WHERE uri = ? AND sha256 = ?", gone)
        return len(gone)

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Takes files out of a batch that is not committed: they changed while they were read."""
        with self._writing() as connection:
            connection.executemany(
                "DELETE FROM deliveries WHERE uri = ? AND sha256 = ?", [(d.uri, d.sha256) for d in deliveries]
            )

    def _note(self, connection: sqlite3.Connection, records: Sequence[Record]) -> None:
        rows = [
            (
                *astuple(r.delivery),
                r.fate,
                r.batch,
                r.judged_by,
                r.noted_at,
                r.code,
                r.observed,
                r.expected,
                r.next_step,
            )
            for r in records
        ]
        connection.executemany(f"INSERT OR REPLACE INTO deliveries VALUES ({', '.join('?' * 14)})", rows)
