"""Writes the prediction log (`pipelines.models.prediction_log`): a line for each answer, before the answer is sent.

The lines of a request are handed to the kernel by one `write` in append mode: after it they survive the death of the
process, and the lines of two replicas do not mix. A thread syncs the files to the disk once a second, so a power cut
may lose the last second. A sync before each answer would prevent that, but a training run that fills the disk's queue
would then delay every prediction.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pipelines.machine import files
from serving.errors import PredictionNotRecorded

SYNC_SECONDS = 1.0
logger = logging.getLogger(__name__)


class PredictionLog:
    """Appends to `<folder>/<date>.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unsynced: set[Path] = set()
        self._written = threading.Event()
        self._syncing: threading.Thread | None = None

    def append(self, day: date, records: Sequence[str]) -> None:
        """Writes records, each a JSON text.

        Raises:
            PredictionNotRecorded: if the file cannot be written.
        """
        path = self._folder / f"{day}.jsonl"
        lines = "".join(f"{record}\n" for record in records).encode()
        try:
            _append(path, lines)
        except OSError as error:
            raise PredictionNotRecorded(
                object=f"prediction log {path.name}",
                observed=f"{type(error).__name__}: {error.strerror or error}",
                expected=f"{len(lines)} bytes appended",
                next_step="ask again; if that fails too, see whether the disk is full",
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
                    files.sync(path)
                except OSError:
                    logger.exception("the prediction log %s was not synced to the disk", path)
            time.sleep(SYNC_SECONDS)


def _append(path: Path, lines: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened for each request, in 10 microseconds: a file that was moved away must not be written to any longer.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # separates them from the torn line of a killed writer
        written = os.write(descriptor, lines)
    finally:
        os.close(descriptor)
    if written != len(lines):
        raise OSError(f"only {written} bytes were written")
