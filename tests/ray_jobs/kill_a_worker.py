"""A callback that takes a run's worker away; loaded on the controller, so in a module of its own."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil
from ray.train.v2.api.callback import UserCallback


class KillAWorker(UserCallback):
    """Kills the last of the run's workers after each of some epochs, once. The controller is the workers' sibling."""

    def __init__(self, *after_epochs: int) -> None:
        self.after_epochs = set(after_epochs)

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        if metrics[0]["number"] in self.after_epochs:
            self.after_epochs.discard(metrics[0]["number"])
            raylet = psutil.Process().parent()
            assert raylet is not None
            workers = [process for process in raylet.children() if "RayTrainWorker" in " ".join(process.cmdline())]
            os.kill(workers[-1].pid, signal.SIGKILL)
