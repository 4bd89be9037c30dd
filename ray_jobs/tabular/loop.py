"""The training loop of one worker, and what it needs to go on where a killed run stopped.

After a restart every worker has the state that it had after the last reported epoch: weights, optimizer, schedule,
the random numbers of its own dropout, and the position in the data, which follows from seed, rank and epoch. A run that
was interrupted therefore ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ray_jobs.core.dataset import Rows, TableVersion, training_rows
from ray_jobs.core.errors import TrainingError
from ray_jobs.tabular.encoding import Encoder
from ray_jobs.tabular.model import Shape, WideAndDeep
from ray_jobs.tabular.recipe import Recipe

STATE_FILE = "state.pt"
WARM_UP_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker is given; `initial_weights` are a base model's, by parameter name."""

    recipe: Recipe
    table: TableVersion
    encoder: Mapping[str, Any]
    shape: Shape
    initial_weights: Mapping[str, NDArray[Any]] | None


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the fitted days. Losses are means over rows, natural logarithm; `number` counts from 1."""

    number: int
    train_loss: float
    validation_loss: float
    seconds: float


@dataclass(slots=True)
class Progress:
    """What has been done so far, over all restarts."""

    epochs: list[Epoch]
    resumed_after: list[int]
    accelerator: str


@dataclass(frozen=True, slots=True)
class Tensors:
    """Encoded rows on a worker's device: categories [rows, C], numbers [rows, N], labels [rows]."""

    categories: Tensor
    numbers: Tensor
    labels: Tensor

    @classmethod
    def of(cls, rows: Rows, encoder: Encoder, device: torch.device) -> Tensors:
        encoded = encoder.encode(rows.columns)
        arrays = (encoded.categories, encoded.numbers, np.ascontiguousarray(rows.labels))
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def loss(self, network: nn.Module, rows: Tensor | slice) -> Tensor:
        """Mean cross entropy of some rows."""
        logits = network(self.categories[rows], self.numbers[rows])
        return nn.functional.binary_cross_entropy_with_logits(logits, self.labels[rows])


def train_loop(config: Mapping[str, Job]) -> None:
    """Trains until the recipe's last epoch, from the last checkpoint if there is one; reports after each epoch."""
    job, context, device = config["job"], ray.train.get_context(), ray.train.torch.get_device()
    recipe, rank, workers = job.recipe, context.get_world_rank(), context.get_world_size()
    if device.type == "cpu":
        torch.set_num_threads(1)
    encoder = Encoder.from_json(job.encoder)
    fit, holdout = (
        Tensors.of(training_rows(job.table, recipe, part).shard(rank, workers), encoder, device)
        for part in ("fit", "holdout")
    )
    torch.manual_seed(recipe.seed)
    bare = WideAndDeep(job.shape)
    if job.initial_weights is not None:
        bare.load_state_dict({name: torch.from_numpy(array) for name, array in job.initial_weights.items()})
    network = ray.train.torch.prepare_model(bare)
    optimizer = torch.optim.AdamW(bare.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    batch = recipe.batch_size // workers
    steps = recipe.epochs * math.ceil(len(fit.labels) / batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps, pct_start=WARM_UP_SHARE
    )
    torch.manual_seed(recipe.seed + rank)  # each worker drops other units
    run = _Run(bare, optimizer, schedule, rank, workers)
    progress = run.restore(ray.train.get_checkpoint()) or Progress([], [], _name(device))

    for number in range(len(progress.epochs) + 1, recipe.epochs + 1):
        started = time.monotonic()
        order = torch.Generator().manual_seed(recipe.seed * 1_000_003 + number * 1_009 + rank)
        network.train()
        total = torch.zeros(2, dtype=torch.float64, device=device)
        for rows in torch.randperm(len(fit.labels), generator=order).to(device).split(batch):
            optimizer.zero_grad(set_to_none=True)
            loss = fit.loss(network, rows)
            loss.backward()
            optimizer.step()
            schedule.step()
            total[0] += loss.detach() * len(rows) / len(fit.labels)
        bare.eval()
        with torch.no_grad():
            total[1] = holdout.loss(bare, slice(None))
        if workers > 1:
            torch.distributed.all_reduce(total)
        train_loss, validation_loss = (total / workers).tolist()
        progress.epochs.append(Epoch(number, train_loss, validation_loss, time.monotonic() - started))
        due = number % recipe.checkpoint_interval_epochs == 0 or number == recipe.epochs
        run.report(progress, checkpoint=due)


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts of a worker that a checkpoint holds."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    rank: int
    workers: int

    def report(self, progress: Progress, *, checkpoint: bool) -> None:
        """Reports the last epoch. Rank 0 saves the common state; every rank saves its random numbers."""
        last = progress.epochs[-1]
        metrics = {name: getattr(last, name) for name in Epoch.__slots__}
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
                        "epochs": [[getattr(epoch, name) for name in Epoch.__slots__] for epoch in progress.epochs],
                        "resumed_after": progress.resumed_after,
                        "accelerator": progress.accelerator,
                    },
                }
                torch.save(state, Path(folder) / STATE_FILE)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))

    def restore(self, checkpoint: ray.train.Checkpoint | None) -> Progress | None:
        """Takes over a checkpoint's state; None if there is none yet."""
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
    """The common state of a checkpoint folder, and what had been done by then; never unpickles code."""
    state = torch.load(folder / STATE_FILE, weights_only=True, map_location="cpu")
    done = state["progress"]
    return state, Progress([Epoch(*epoch) for epoch in done["epochs"]], done["resumed_after"], done["accelerator"])


def _rank_file(rank: int) -> str:
    return f"rank-{rank}.pt"


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
