"""What a run is asked while it trains: to leave a checkpoint, since a machine goes away, or to stop after one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pipelines.machine import files

STOP_FILE = "stop"
#: How often the first worker looks whether the run is asked to stop.
LOOK_SECONDS = 0.5


def ask_to_stop(run_folder: Path) -> None:
    """Lets the run of a folder leave a checkpoint and end; without effect on one that has ended."""
    files.replace(run_folder / STOP_FILE, "")


def withdraw(run_folder: Path) -> None:
    """Takes back what `ask_to_stop` asked, before the run goes on."""
    (run_folder / STOP_FILE).unlink(missing_ok=True)


class Requests:
    """What one worker was asked. Workers add up their counts, so that all of them act before the same step."""

    def __init__(self, run_folder: Path, rank: int, notice: Callable[[], bool]) -> None:
        self._file, self._notice = run_folder / STOP_FILE, notice
        self._looks = rank == 0
        self._looked, self._stop = -LOOK_SECONDS, False

    def counts(self) -> tuple[float, float]:
        """How often this worker was asked for a checkpoint, and to stop: each 0 or 1."""
        now = time.monotonic()
        if self._looks and now - self._looked >= LOOK_SECONDS:
            self._looked, self._stop = now, self._file.exists()
        return float(self._notice()), float(self._stop)
