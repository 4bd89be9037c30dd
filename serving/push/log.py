"""The log of one pushed source: an acknowledged event is in it, synced to the disk, until landing has the event.

A log is a folder of segments, files `NUMBER-FIRST.log` of JSON lines; FIRST is the position of the first line. Lines
are appended to the newest segment only. When landing has a segment, `NUMBER-FIRST.ids` replaces it. That file holds the
ids of the segment's events, so that a repeated event is recognized, also after a restart. One process writes a log at a
time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import DamagedError, SettingsError
from pipelines.machine import files, locks
from pipelines.medallion.push_source import EVENT_ID, RECEIVED_AT

#: Number of ids that are remembered; a million take about 250 MB. The oldest are forgotten, a segment at a time.
MAX_IDS = 500_000


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log: its position, from 1 on, and the fingerprint of its content."""

    position: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """A file that nothing is appended to any longer, with the lines of the positions `first` to `last`."""

    number: int
    first: int
    last: int
    size_bytes: int
    path: Path

    def lines(self) -> list[bytes]:
        """Its lines without their line ends."""
        return self.path.read_bytes().splitlines()


def fingerprint(event: Mapping[str, Any]) -> bytes:
    """A digest of an event's content; the time at which it was received does not count."""
    content = {name: value for name, value in event.items() if name != RECEIVED_AT}
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).digest()


class PushLog:
    """Appends to, seals and forgets the segments of one folder. Its methods are for one thread at a time.

    Attributes:
        number: Of the newest segment.
        last: Position of the newest line.
        sealed: Segments that nothing is appended to and landing does not have yet.
        events: The remembered events by id.
        opened_at: When the segment that is appended to was opened, in seconds of `time.monotonic`.

    Args:
        folder: Of this log alone.

    Raises:
        SettingsError: if another process has the log open.
        DamagedError: if a file of an earlier process holds something else than its events.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = contextlib.ExitStack()
        try:
            self._lock.enter_context(locks.held(folder / "lock", purpose=f"the push log {folder}", wait_seconds=0))
        except locks.LockTimeout as error:
            raise SettingsError(
                object=f"log {folder}",
                observed=f"another process has it open: {error.observed}",
                expected="one server for each home folder",
                next_step="send to that server, or stop it",
            ) from None
        self.number = 0
        self.last = 0
        self.sealed: list[Segment] = []
        self.events: dict[str, LoggedEvent] = {}
        self.opened_at = 0.0
        self._id_files: list[tuple[Path, list[str]]] = []
        self._file: int | None = None
        self._active: tuple[int, Path] | None = None  # position of its first line, and its path
        self._size = 0
        with contextlib.ExitStack() as released:
            released.callback(self._lock.close)
            for path in sorted(folder.glob("????????-*.*")):
                self._recover_whole(path)
            released.pop_all()

    @property
    def size(self) -> int:
        """Bytes of the segment that is appended to."""
        return self._size

    @property
    def waiting_bytes(self) -> int:
        """Bytes that landing does not have yet. Any thread may ask, also while another one forgets a segment."""
        return self._size + sum(segment.size_bytes for segment in list(self.sealed))

    def begin_after(self, number: int, last: int) -> None:
        """Continues after a segment number and a position that landing has of an older log, lost with its folder."""
        if last > self.last:
            self.number, self.last = number, last

    def append(self, lines: Sequence[bytes]) -> int:
        """Writes lines and syncs them to the disk; returns the position of the first.

        Raises:
            OSError: if that failed; then none of the lines is in the log.
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
            # After a failed sync it is unknown what the disk holds, so the next append opens a new segment.
            try:
                os.ftruncate(self._file, self._size)
            finally:
                self.seal()
            raise
        first, self.last = self.last + 1, self.last + len(lines)
        self._size += len(content)
        return first

    def remember(self, ids: Sequence[str], first: int, fingerprints: Sequence[bytes]) -> None:
        """Notes the ids of lines that are in the log from the position `first` on."""
        self.events |= {
            event_id: LoggedEvent(first + place, mark)
            for place, (event_id, mark) in enumerate(zip(ids, fingerprints, strict=True))
        }

    def seal(self) -> None:
        """Closes the segment that is appended to; removes it if it has no line."""
        if self._file is None or self._active is None:
            return
        os.close(self._file)
        first, path = self._active
        if self._size:
            self.sealed.append(Segment(self.number, first, self.last, self._size, path))
        else:
            path.unlink()
        self._file = self._active = None
        self._size = 0

    def forget(self, segment: Segment) -> None:
        """Replaces a sealed segment that landing has by the file of its ids."""
        events = [json.loads(line) for line in segment.lines()]
        ids = [event[EVENT_ID] for event in events]
        id_file = segment.path.with_suffix(".ids")
        records = [[event[EVENT_ID], fingerprint(event).hex()] for event in events]
        files.replace(id_file, "".join(json.dumps(record) + "\n" for record in records), survives="power")
        segment.path.unlink()
        self.sealed.remove(segment)
        self._keep(id_file, ids)

    def close(self) -> None:
        """Seals the log and releases it for another process."""
        self.seal()
        self._lock.close()

    def _open(self) -> None:
        self.number += 1
        path = self._folder / f"{self.number:08d}-{self.last + 1:016d}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        files.sync(self._folder)
        self._active = self.last + 1, path
        self.opened_at = time.monotonic()

    def _recover_whole(self, path: Path) -> None:
        """Takes over a file of an earlier process, or raises DamagedError."""
        try:
            self._recover(path)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(
                object=f"push log file {path}",
                observed=f"it is damaged: {type(error).__name__}: {error}",
                expected="the events, or their ids, as an earlier process wrote them",
                next_step="restore the file from a backup of the home folder, and start `goldpath push` again",
            ) from None

    def _recover(self, path: Path) -> None:
        """Takes over a file of an earlier process; of a torn segment, its whole lines."""
        number, _, first_text = path.stem.partition("-")
        first = int(first_text)
        if path.suffix == ".ids":
            records = [json.loads(line) for line in path.read_bytes().splitlines()]
            ids = [event_id for event_id, _ in records]
            path.with_suffix(".log").unlink(missing_ok=True)  # a process that was killed in `forget` left it
            self.remember(ids, first, [bytes.fromhex(mark) for _, mark in records])
            self._keep(path, ids)
        elif path.suffix == ".log" and not path.with_suffix(".ids").exists():
            events = list(_whole_events(path))
            if not events:
                path.unlink()
                return
            ids = [event[EVENT_ID] for event in events]
            self.remember(ids, first, [fingerprint(event) for event in events])
            self.sealed.append(Segment(int(number), first, first + len(events) - 1, path.stat().st_size, path))
        else:
            return
        self.number, self.last = int(number), max(self.last, first + len(ids) - 1)

    def _keep(self, path: Path, ids: list[str]) -> None:
        """Adds a file of ids, and removes the oldest files while there are more than `MAX_IDS` ids."""
        self._id_files.append((path, ids))
        while len(self._id_files) > 1 and sum(len(ids) for _, ids in self._id_files) > MAX_IDS:
            oldest, forgotten = self._id_files.pop(0)
            for event_id in forgotten:
                self.events.pop(event_id, None)
            oldest.unlink()


def _whole_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a segment up to its first torn line; cuts the file off there.

    `json_lines.read` would go on behind a torn line, but nothing behind one was acknowledged, and each line's number is
    its position.
    """
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
