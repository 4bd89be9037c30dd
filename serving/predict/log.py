"""The prediction log: one JSON line for each answer, written before the answer leaves.

A line is handed to the kernel by one `write` in append mode: from then on no death of the process loses it, and lines
of two replicas do not mix. A thread brings the lines to the disk once a second, so a power cut may cost the last
second. Syncing before each answer would close that gap too, but then a training run that fills the disk's queue would
hold up every prediction.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.settings import Settings
from serving.errors import PredictionNotRecorded

SYNC_SECONDS = 1.0
logger = logging.getLogger(__name__)


def folder(settings: Settings) -> Path:
    """Where the predictions of a home folder are logged: one file for each day of the platform's clock, UTC."""
    return settings.root / "serving" / "predictions"


class PredictionLog:
    """Appends to `<folder>/<date>.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unsynced: set[Path] = set()
        self._written = threading.Event()
        self._syncing: threading.Thread | None = None

    def append(self, day: date, records: Sequence[Mapping[str, Any]]) -> None:
        """Writes all records of one request, or raises PredictionNotRecorded."""
        path = self._folder / f"{day}.jsonl"
        lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records).encode()
        try:
            _append(path, lines)
        except OSError as error:
            raise PredictionNotRecorded(
                object=f"prediction log {path.name}",
                observed=f"{type(error).__name__}: {error.strerror or error}",
                expected=f"{len(lines)} bytes appended",
                next_step="ask again; if it stays, see whether the disk is full",
            ) from error
        self._unsynced.add(path)
        self._written.set()
        if self._syncing is None:
            self._syncing = threading.Thread(target=self._sync_forever, name="prediction-log-sync", daemon=True)
            self._syncing.start()

    def _sync_forever(self) -> None:
        while True:
            self._written.wait()
            self._written.clear()
            while self._unsynced:
                path = self._unsynced.pop()
                try:
                    _sync(path)
                except OSError:
                    logger.exception("the prediction log %s was not synced to the disk", path)
            time.sleep(SYNC_SECONDS)


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Every logged prediction, oldest day first.

    A line that was cut off is left out: its writer died or failed in the middle of it, so it was never answered.
    """
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _append(path: Path, lines: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened each time: a file that somebody moved away is not written to unseen. It takes 10 microseconds.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # what a killed writer left must not swallow the next line
        written = os.write(descriptor, lines)
    finally:
        os.close(descriptor)
    if written != len(lines):
        raise OSError(f"only {written} bytes were written")
