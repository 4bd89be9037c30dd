"""The landing zone: where deliveries arrive, and the ledger of what was taken from it.

A delivery is one complete file at `domain/source/dt=INTERVAL/name`. Names that begin with `.` or `_` are not complete
and are left alone; `deliver` writes under such a name and renames.

The ledger is a write-ahead log of batches, as in Spark Structured Streaming: a batch names its files before any of them
is read, and counts as taken once the bronze table carries its number as app transaction. A killed run's batch is
planned already, and the next run commits exactly that one: nothing is lost, nothing is taken twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import LandingError

INTERVAL = "dt="


@dataclass(frozen=True, slots=True)
class Delivery:
    """One landed file. `uri` is relative to the landing root; `interval` is the day (or snapshot) that it covers."""

    uri: str
    interval: str
    bytes: int
    modified_ns: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are committed together, once. `duplicates` were seen before under another name and are not read."""

    number: int
    planned_at: str
    deliveries: tuple[Delivery, ...]
    duplicates: tuple[str, ...] = ()

    @property
    def ingest_id(self) -> str:
        return f"{self.number:08d}"


class Landing:
    """Deliveries below one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def deliver(self, *, domain: str, source: str, interval: str, name: str, content: bytes) -> Path:
        """Lands one file, atomically; landing the same bytes again changes nothing.

        Raises:
            LandingError: if a different file of that name has landed, or the name is none that would be found again.
        """
        if Path(name).name != name or name[:1] in ("", ".", "_"):
            raise LandingError(
                object=f"delivery {name!r} of {domain}/{source}",
                observed="a name that is empty, has folders in it, or marks an incomplete file",
                expected="a file name that begins with neither . nor _",
                next_step="deliver it under such a name",
            )
        folder = self.root / domain / source / f"{INTERVAL}{interval}"
        target = folder / name
        if target.exists():
            if target.read_bytes() == content:
                return target
            raise LandingError(
                object=f"delivery {target.relative_to(self.root)}",
                observed="another file of this name has landed, with other content",
                expected="a new name for new content: what has landed is never changed",
                next_step="deliver the correction under another name, such as with a sequence number",
            )
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{os.getpid()}"
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.rename(target)
        return target

    def deliveries(self, domain: str, source: str, intervals: Collection[str] | None = None) -> list[Delivery]:
        """The complete files of one source, by interval and name; only of the given intervals if any are given."""
        found = []
        base = self.root / domain / source
        for folder in sorted(base.glob(f"{INTERVAL}*")):
            interval = folder.name.removeprefix(INTERVAL)
            if (intervals is None or interval in intervals) and folder.is_dir() and not folder.is_symlink():
                found += [self._delivery(entry, interval) for entry in self._files(folder)]
        return found

    def _files(self, folder: Path) -> Iterator[Path]:
        for entry in sorted(folder.iterdir()):
            if entry.is_file() and not entry.is_symlink() and entry.name[0] not in "._":
                yield entry

    def _delivery(self, path: Path, interval: str) -> Delivery:
        status = path.stat()
        return Delivery(str(path.relative_to(self.root)), interval, status.st_size, status.st_mtime_ns)

    def path(self, delivery: Delivery) -> Path:
        return self.root / delivery.uri

    def checksum(self, delivery: Delivery) -> str:
        with self.path(delivery).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()


class Ledger:
    """The batches of one bronze table; a folder of numbered JSON files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def batches(self) -> list[Batch]:
        return [self._read(path) for path in sorted(self.folder.glob("*.json"))]

    def plan(self, landing: Landing, found: list[Delivery], *, committed: int) -> Batch | None:
        """The next batch to commit: the one that a killed run had planned, else one of what is new, else None.

        Args:
            landing: Where the files are.
            found: The files that this run may take.
            committed: The last batch that the bronze table carries; -1 before the first.
        """
        batches = self.batches()
        if batches and batches[-1].number > committed:
            return next(batch for batch in batches if batch.number > committed)
        seen = {delivery.uri: delivery for batch in batches for delivery in batch.deliveries}
        skipped = {uri for batch in batches for uri in batch.duplicates}
        digests = {delivery.sha256 for delivery in seen.values()}
        fresh, duplicates = [], []
        for delivery in found:
            if delivery.uri in skipped or _unchanged(seen.get(delivery.uri), delivery):
                continue
            digest = landing.checksum(delivery)
            if delivery.uri in seen and seen[delivery.uri].sha256 != digest:
                raise LandingError(
                    object=f"delivery {delivery.uri}",
                    observed=f"its content changed after it was taken (sha256 now {digest[:12]})",
                    expected=f"sha256 {str(seen[delivery.uri].sha256)[:12]}: what has landed is never changed",
                    next_step="deliver the correction under another name and restore the first file",
                )
            if digest in digests:
                duplicates.append(delivery.uri)
                continue
            digests.add(digest)
            fresh.append(Delivery(delivery.uri, delivery.interval, delivery.bytes, delivery.modified_ns, digest))
        if not fresh:
            if duplicates:  # noted beside the last batch, or they would be looked at for ever
                self._write(replace(batches[-1], duplicates=(*batches[-1].duplicates, *duplicates)))
            return None
        batch = Batch(committed + 1, datetime.now(UTC).isoformat(), tuple(fresh), tuple(duplicates))
        self._write(batch)
        return batch

    def _write(self, batch: Batch) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{batch.ingest_id}.{os.getpid()}"
        with temporary.open("w", encoding="utf-8") as handle:
            json.dump(asdict(batch), handle)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.rename(self.folder / f"{batch.ingest_id}.json")

    def _read(self, path: Path) -> Batch:
        record = json.loads(path.read_text(encoding="utf-8"))
        deliveries = tuple(Delivery(**delivery) for delivery in record["deliveries"])
        return Batch(record["number"], record["planned_at"], deliveries, tuple(record["duplicates"]))


def _unchanged(before: Delivery | None, now: Delivery) -> bool:
    return before is not None and (before.bytes, before.modified_ns) == (now.bytes, now.modified_ns)
