"""The training loop of one worker.

The position in the data follows from seed, rank and epoch, and the rest of a worker's state from its checkpoint: a run
that was interrupted ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.models.program import Epoch
from ray_jobs.core.dataset import DatasetVersion, Rows, training_rows
from ray_jobs.core.worker_state import Progress, WorkerState
from ray_jobs.tabular.encoding import Encoder
from ray_jobs.tabular.model import Shape, WideAndDeep
from ray_jobs.tabular.objective import Objective
from ray_jobs.tabular.recipe import Recipe

WARM_UP_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker gets; `initial_weights` are a base model's, by parameter name."""

    recipe: Recipe
    table: DatasetVersion
    encoder: Mapping[str, Any]
    objective: Objective
    shape: Shape
    initial_weights: Mapping[str, NDArray[Any]] | None


@dataclass(frozen=True, slots=True)
class Tensors:
    """Encoded rows on a worker's device: categories [rows, C], numbers [rows, N], targets [rows]."""

    objective: Objective
    categories: Tensor
    numbers: Tensor
    targets: Tensor

    @classmethod
    def of(cls, rows: Rows, encoder: Encoder, objective: Objective, device: torch.device) -> Tensors:
        encoded = encoder.encode(rows.columns)
        arrays = (encoded.categories, encoded.numbers, np.ascontiguousarray(objective.targets(rows.labels)))
        return cls(objective, *(torch.from_numpy(array).to(device) for array in arrays))

    def loss(self, network: nn.Module, rows: Tensor | slice) -> Tensor:
        """The objective's mean loss of the selected rows."""
        return self.objective.loss(network(self.categories[rows], self.numbers[rows]), self.targets[rows])


def train_loop(config: Mapping[str, Job]) -> None:
    """Trains until the recipe's last epoch, from the last checkpoint if there is one; reports after each epoch."""
    job, context, device = config["job"], ray.train.get_context(), ray.train.torch.get_device()
    recipe, rank, workers = job.recipe, context.get_world_rank(), context.get_world_size()
    if device.type == "cpu":
        torch.set_num_threads(1)
    encoder = Encoder.from_json(job.encoder)
    fit, holdout = (
        Tensors.of(training_rows(job.table, recipe, part).shard(rank, workers), encoder, job.objective, device)
        for part in ("fit", "holdout")
    )
    torch.manual_seed(recipe.seed)
    network = WideAndDeep(job.shape)
    if job.initial_weights is not None:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in job.initial_weights.items()})
    synchronized = ray.train.torch.prepare_model(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    batch_size = recipe.batch_size // workers
    steps = recipe.epochs * math.ceil(len(fit.targets) / batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps, pct_start=WARM_UP_SHARE
    )
    torch.manual_seed(recipe.seed + rank)  # each worker drops other units
    state = WorkerState(network, optimizer, schedule, rank, workers)
    progress = state.restore(ray.train.get_checkpoint()) or Progress([], [], _accelerator(device))

    for number in range(len(progress.epochs) + 1, recipe.epochs + 1):
        started = time.monotonic()
        order = torch.Generator().manual_seed(recipe.seed * 1_000_003 + number * 1_009 + rank)
        synchronized.train()
        losses = torch.zeros(2, dtype=torch.float64, device=device)  # of training and of validation
        for rows in torch.randperm(len(fit.targets), generator=order).to(device).split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss = fit.loss(synchronized, rows)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses[0] += loss.detach() * len(rows) / len(fit.targets)
        network.eval()
        with torch.no_grad():
            losses[1] = holdout.loss(network, slice(None))
        if workers > 1:
            torch.distributed.all_reduce(losses)
        train_loss, validation_loss = (losses / workers).tolist()
        progress.epochs.append(Epoch(number, train_loss, validation_loss, time.monotonic() - started))
        checkpoint_due = number % recipe.checkpoint_interval_epochs == 0 or number == recipe.epochs
        state.report(progress, checkpoint=checkpoint_due)


def _accelerator(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
