"""Epochs as they end, told to the process that waits for the run.

Ray Train's callbacks run on its controller, another process, which Ray always places on the waiting process's machine.
A file between the two needs no further actor.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ray.train.v2.api.callback import UserCallback

from ray_jobs.tabular.loop import Epoch

POLL_SECONDS = 0.5

OnEpoch = Callable[[Epoch], None]


class EpochFile(UserCallback):
    """Appends each reported epoch to a file, one JSON line each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics[0]) + "\n")


def silent(epoch: Epoch) -> None:
    """Listens to no epoch."""


@contextlib.contextmanager
def following(on_epoch: OnEpoch) -> Iterator[EpochFile]:
    """Calls `on_epoch`, in a thread of its own, for each epoch that the yielded callback is told of.

    An epoch that a restart repeats is told again. All are told before the block is left.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "epochs.jsonl"
        path.touch()
        done = threading.Event()
        follower = threading.Thread(target=_follow, args=(path, on_epoch, done), name="epochs", daemon=True)
        follower.start()
        try:
            yield EpochFile(path)
        finally:
            done.set()
            follower.join()


def _follow(path: Path, on_epoch: OnEpoch, done: threading.Event) -> None:
    with path.open(encoding="utf-8") as file:
        line = ""
        ending = False
        while not ending:
            ending = done.wait(POLL_SECONDS)
            while part := file.readline():
                line += part
                if line.endswith("\n"):
                    on_epoch(Epoch(**json.loads(line)))
                    line = ""
