"""A callback that kills a worker. Ray Train's controller imports it, so it is in a module of its own."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil

from ray_jobs.core.ray_train import UserCallback


class KillAWorker(UserCallback):
    """Kills the run's last worker after each of the given epochs, once. Controller and workers have the same parent."""

    def __init__(self, *after_epochs: int) -> None:
        self.after_epochs = set(after_epochs)

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        if metrics[0]["number"] in self.after_epochs:
            self.after_epochs.discard(metrics[0]["number"])
            raylet = psutil.Process().parent()
            assert raylet is not None
            workers = [process for process in raylet.children() if "RayTrainWorker" in " ".join(process.cmdline())]
            os.kill(workers[-1].pid, signal.SIGKILL)
