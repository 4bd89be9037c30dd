"""A run's epochs as they end, for the process that waits for the run.

Ray Train calls callbacks in its controller, another process, which Ray always places on the waiting process's machine.
The controller appends each epoch to a file there, which the waiting process reads.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.machine import json_lines
from pipelines.models.program import Epoch, OnEpoch
from ray_jobs.core.ray_train import UserCallback

POLL_SECONDS = 0.5


class EpochFile(UserCallback):
    """Appends each reported epoch to a file, as one JSON line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics[0]) + "\n")


def ignore(epoch: Epoch) -> None:
    """Does nothing with an epoch."""


@contextlib.contextmanager
def following(on_epoch: OnEpoch) -> Iterator[EpochFile]:
    """Yields a callback for Ray Train, and calls `on_epoch` for each epoch that the callback gets.

    `on_epoch` is called in a thread of its own; for an epoch that is repeated after a restart, it is called again. All
    calls are made before the block is left.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "epochs.jsonl"
        run_ended = threading.Event()
        follower = threading.Thread(target=_follow, args=(path, on_epoch, run_ended), name="epochs", daemon=True)
        follower.start()
        try:
            yield EpochFile(path)
        finally:
            run_ended.set()
            follower.join()


def _follow(path: Path, on_epoch: OnEpoch, run_ended: threading.Event) -> None:
    offset, last_look = 0, False
    while not last_look:
        last_look = run_ended.wait(POLL_SECONDS)
        for next_offset, epoch in json_lines.read_from(path, offset):
            on_epoch(Epoch(**epoch))
            offset = next_offset
