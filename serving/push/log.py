"""The log of one pushed source: what was acknowledged is in here, synced to the disk, until landing has it.

A log is a folder of segments, `NUMBER-FIRST.log`, each a file of JSON lines whose first line has the position FIRST.
Only the newest is appended to. When landing has a segment, what stays of it is `NUMBER-FIRST.ids`: the ids of its
events, by which an event that is sent again is known, also after a restart. One process writes a log at a time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import SettingsError
from pipelines.medallion.push_source import EVENT_ID, RECEIVED_AT

#: Ids that are remembered; a million take about 250 MB. Older ones are forgotten by whole segments.
MAX_IDS = 500_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An event of the log: its position, from 1 on, and what its content was."""

    position: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """A file that is no longer appended to, with lines of the positions `first` to `last`."""

    number: int
    first: int
    last: int
    path: Path

    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines()


def fingerprint(event: Mapping[str, Any]) -> bytes:
    """The same for two events that say the same, whenever they came."""
    said = {name: value for name, value in event.items() if name != RECEIVED_AT}
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=12).digest()


class PushLog:
    """Appends to, seals and forgets the segments of one folder. Its methods are for one thread at a time.

    Args:
        folder: Of this log alone.

    Raises:
        SettingsError: if another process has the log open.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise SettingsError(
                object=f"log {folder}",
                observed="another process has it open",
                expected="one server for each home folder",
                next_step="send to that server, or stop it",
            ) from None
        self.number = 0
        self.last = 0
        self.sealed: list[Segment] = []
        self.seen: dict[str, Seen] = {}
        self._remembered: list[tuple[Path, list[str]]] = []
        self._file: int | None = None
        self._active: Segment | None = None
        self._size = 0
        self.begun = 0.0
        for path in sorted(folder.glob("????????-*.*")):
            self._recover(path)

    @property
    def size(self) -> int:
        """Bytes of the segment that is appended to."""
        return self._size

    @property
    def waiting_bytes(self) -> int:
        """Bytes that landing does not have yet."""
        return self._size + sum(segment.path.stat().st_size for segment in self.sealed)

    def begin_after(self, number: int, last: int) -> None:
        """Continues behind what landing has of an older log that this folder knows nothing of."""
        if last > self.last:
            self.number, self.last = number, last

    def append(self, lines: Sequence[bytes]) -> int:
        """Writes the lines and brings them to the disk; returns the position of the first.

        Raises:
            OSError: if that failed; then none of them is in the log.
        """
        if self._file is None:
            self._open()
        assert self._file is not None
        content = b"".join(line + b"\n" for line in lines)
        try:
            if os.write(self._file, content) != len(content):
                raise OSError("only a part was written")
            os.fdatasync(self._file)
        except OSError:
            # After a failed sync nobody knows what the disk holds; the next append begins a new segment.
            try:
                os.ftruncate(self._file, self._size)
            finally:
                self.seal()
            raise
        first, self.last = self.last + 1, self.last + len(lines)
        self._size += len(content)
        return first

    def remember(self, ids: Sequence[str], first: int, fingerprints: Sequence[bytes]) -> None:
        """Notes the ids of the lines that were appended last."""
        self.seen |= {
            name: Seen(first + place, mark) for place, (name, mark) in enumerate(zip(ids, fingerprints, strict=True))
        }

    def seal(self) -> None:
        """Ends the segment that is appended to, if it has a line."""
        if self._file is None or self._active is None:
            return
        os.close(self._file)
        if self._size:
            active = self._active
            self.sealed.append(Segment(active.number, active.first, self.last, active.path))
        else:
            self._active.path.unlink()
        self._file = self._active = None
        self._size = 0

    def forget(self, segment: Segment) -> None:
        """Drops a segment that landing has, all but its ids."""
        events = [json.loads(line) for line in segment.lines()]
        ids = [event[EVENT_ID] for event in events]
        kept = segment.path.with_suffix(".ids")
        records = [[event[EVENT_ID], fingerprint(event).hex()] for event in events]
        _write(kept, "".join(json.dumps(record) + "\n" for record in records).encode())
        segment.path.unlink()
        self.sealed.remove(segment)
        self._keep(kept, ids)

    def close(self) -> None:
        """Ends the segment and lets another process have the log."""
        self.seal()
        self._lock.close()

    def _open(self) -> None:
        self.number += 1
        path = self._folder / f"{self.number:08d}-{self.last + 1:016d}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        _sync_folder(self._folder)
        self._active = Segment(self.number, self.last + 1, self.last, path)
        self.begun = time.monotonic()

    def _recover(self, path: Path) -> None:
        """Takes up a file of an earlier process; of a torn segment, what was written whole."""
        number, _, first_text = path.stem.partition("-")
        first = int(first_text)
        if path.suffix == ".ids":
            records = [json.loads(line) for line in path.read_bytes().splitlines()]
            ids = [name for name, _ in records]
            path.with_suffix(".log").unlink(missing_ok=True)  # it was killed in between
            self.remember(ids, first, [bytes.fromhex(mark) for _, mark in records])
            self._keep(path, ids)
        elif path.suffix == ".log" and not path.with_suffix(".ids").exists():
            events = list(_whole(path))
            if not events:
                path.unlink()
                return
            self.remember([event[EVENT_ID] for event in events], first, [fingerprint(event) for event in events])
            self.sealed.append(Segment(int(number), first, first + len(events) - 1, path))
            ids = [event[EVENT_ID] for event in events]
        else:
            return
        self.number, self.last = int(number), max(self.last, first + len(ids) - 1)

    def _keep(self, path: Path, ids: list[str]) -> None:
        self._remembered.append((path, ids))
        while len(self._remembered) > 1 and sum(len(found) for _, found in self._remembered) > MAX_IDS:
            oldest, names = self._remembered.pop(0)
            for name in names:
                self.seen.pop(name, None)
            oldest.unlink()


def _whole(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a segment; cuts the file after its last whole line, behind which nothing was acknowledged."""
    size = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                event = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                event = None
            if event is None:
                break
            size += len(line)
            yield event
    if size < path.stat().st_size:
        with path.open("r+b") as torn:
            torn.truncate(size)
            os.fsync(torn.fileno())


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
