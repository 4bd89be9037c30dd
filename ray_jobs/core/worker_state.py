"""What a worker needs to continue where a killed run stopped, and its checkpoints on Ray Train.

A restarted worker has the state that it had after the last reported epoch: weights, optimizer, schedule and its own
random numbers. A loop whose order of rows follows from seed, rank and epoch ends with the same weights as if it had not
been interrupted.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from torch import nn

from pipelines.models.program import Epoch
from ray_jobs.core.errors import TrainingError

STATE_FILE = "state.pt"


@dataclass(slots=True)
class Progress:
    """The finished epochs, over all restarts.

    Attributes:
        epochs: One entry for each epoch.
        resumed_after: The number of finished epochs at each restart from a checkpoint.
        accelerator: Name of the GPU, or "cpu".
    """

    epochs: list[Epoch]
    resumed_after: list[int]
    accelerator: str


@dataclass(frozen=True, slots=True)
class WorkerState:
    """The parts of a worker that a checkpoint holds."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    rank: int
    workers: int

    def report(self, progress: Progress, *, checkpoint: bool) -> None:
        """Reports the last epoch. Rank 0 saves the common state; every rank saves its random numbers."""
        metrics = asdict(progress.epochs[-1])
        if not checkpoint:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"random": torch.get_rng_state(), "workers": self.workers}, Path(folder) / _rank_file(self.rank))
            if self.rank == 0:
                state = {
                    "network": self.network.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "schedule": self.schedule.state_dict(),
                    "progress": {
                        "epochs": [list(astuple(epoch)) for epoch in progress.epochs],
                        "resumed_after": progress.resumed_after,
                        "accelerator": progress.accelerator,
                    },
                }
                torch.save(state, Path(folder) / STATE_FILE)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))

    def restore(self, checkpoint: ray.train.Checkpoint | None) -> Progress | None:
        """Loads a checkpoint's state; returns None if there is no checkpoint yet.

        Raises:
            TrainingError: if another number of workers wrote it.
        """
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            state, progress = read_state(Path(folder))
            own = torch.load(Path(folder) / _rank_file(self.rank), weights_only=True)
        if own["workers"] != self.workers:
            raise TrainingError(
                object="training checkpoint",
                observed=f"written by {own['workers']} workers, read by {self.workers}",
                expected="as many workers as before",
                next_step="resume on a cluster like the first one, or start a new run",
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(own["random"])
        progress.resumed_after.append(len(progress.epochs))
        return progress


def read_state(folder: Path) -> tuple[dict[str, Any], Progress]:
    """The common state and the progress in a checkpoint's folder; it is read without unpickling code."""
    state = torch.load(folder / STATE_FILE, weights_only=True, map_location="cpu")
    progress = state["progress"]
    epochs = [Epoch(*values) for values in progress["epochs"]]
    return state, Progress(epochs, progress["resumed_after"], progress["accelerator"])


def _rank_file(rank: int) -> str:
    return f"rank-{rank}.pt"
