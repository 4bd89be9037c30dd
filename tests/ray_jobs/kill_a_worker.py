"""Kills a worker of a training run while the run goes on."""

from __future__ import annotations

import os
import signal

import psutil

from pipelines.models.program import Epoch, Progress


class KillAWorker:
    """Follows a run, and kills its last worker after each of the given epochs, once."""

    def __init__(self, *after_epochs: int) -> None:
        self.after_epochs = set(after_epochs)

    def __call__(self, progress: Epoch | Progress) -> None:
        if isinstance(progress, Epoch) and progress.number in self.after_epochs:
            self.after_epochs.discard(progress.number)
            workers = [
                process.pid
                for process in psutil.Process().children(recursive=True)
                if "RayTrainWorker" in " ".join(process.cmdline())
            ]
            os.kill(max(workers), signal.SIGKILL)
