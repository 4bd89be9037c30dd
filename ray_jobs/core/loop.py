"""The training loop of one worker.

A step's rows follow from seed, epoch and step, its random numbers from these and the worker's number, and the rest of
a worker's state from its checkpoint: a run that was interrupted ends with the same weights as one that was not.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipelines.models.program import Epoch, Progress, RecipeError
from ray_jobs.core import parallel
from ray_jobs.core.checkpoint_folder import Position
from ray_jobs.core.checkpoints import Checkpoints
from ray_jobs.core.errors import Interrupted, TrainingError
from ray_jobs.core.meter import Meter
from ray_jobs.core.prefetch import ahead
from ray_jobs.core.program import Batch, Program
from ray_jobs.core.progress import Journal
from ray_jobs.core.recipe import TrainingRecipe
from ray_jobs.core.requests import Requests
from ray_jobs.core.shards import Shards
from ray_jobs.core.speed import Speed
from ray_jobs.core.step import Step, Sums, Waits

WARM_UP_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker gets."""

    program: Program[Any]
    recipe: TrainingRecipe
    fit: Shards
    holdout: Shards
    run_folder: Path


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of a run, with its device; several are connected by torch's default process group."""

    rank: int
    of: int
    device: torch.device
    #: Whether this worker's machine, or another one of the run, is about to go away.
    notice: Callable[[], bool] = bool
    #: Is called by the first worker after each epoch, while nothing is written to the run's folder.
    on_epoch: Callable[[Epoch], None] | None = None

    @property
    def accelerator(self) -> str:
        """Name of the GPU, or "cpu"."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"


def run(job: Job, worker: Worker) -> None:
    """Trains to the recipe's last epoch, from the last checkpoint if there is one, and leaves a checkpoint at the end.

    An error that every worker has alike, and that no restart mends, ends the run: it stands in the journal.
    """
    try:
        parallel.require(job.recipe, workers=worker.of, bf16=parallel.has_bf16(worker.device))
        Loop(job, worker).run()
    except (TrainingError, RecipeError) as error:
        if worker.rank == 0:
            journal = Journal.read(job.run_folder) or Journal(worker.accelerator)
            journal.stopped = {"kind": type(error).__name__, **error.facts()}
            journal.write(job.run_folder)


class Loop:
    """The state of a worker between steps.

    What a step's loss was is looked at after the next step has begun, so that a GPU never waits for this process.
    """

    def __init__(self, job: Job, worker: Worker) -> None:
        self.job, self.worker, recipe = job, worker, job.recipe
        torch.manual_seed(recipe.seed)
        self.plain = job.program.network().to(worker.device)
        self.network = parallel.spread(self.plain, recipe, worker.device)
        self.trained = [parameter for parameter in self.plain.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.steps = job.fit.steps(recipe.batch_size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, recipe.learning_rate, total_steps=recipe.epochs * self.steps, pct_start=WARM_UP_SHARE
        )
        self.checkpoints = Checkpoints(job.run_folder, self.plain, self.optimizer, self.schedule)
        self.journal, self.meter = Journal(worker.accelerator), Meter(worker.device)
        self.sums, self.position, self.speed, self.waits = Sums(), Position(1, 0, 0), Speed(0), Waits()
        self.pending: Step | None = None
        self.requests = Requests(job.run_folder, worker.rank, worker.notice)
        self.noticed, self.stop, self.notices = False, False, 0.0

    def run(self) -> None:
        """Trains to the last epoch."""
        self._restore()
        self.speed = Speed(self.position.steps)
        with self.meter:
            while self.position.epoch <= self.job.recipe.epochs:
                self._epoch(self.position.epoch)
        self.checkpoints.wait()

    def _restore(self) -> None:
        checkpoint = self.checkpoints.restore()
        if checkpoint is not None:
            notes, self.position = checkpoint.notes, checkpoint.position
            self.journal.epochs = [Epoch(**epoch) for epoch in notes["epochs"]]
            self.journal.resumed_after = [*notes["resumed_after"], self.position.steps]
            self.sums = Sums(**notes["sums"])
        if self.worker.rank == 0:
            self.journal.write(self.job.run_folder)

    def _epoch(self, number: int) -> None:
        """The steps of an epoch that are left, then its validation, its entry and its checkpoint."""
        recipe, started = self.job.recipe, time.monotonic() - self.sums.seconds
        self.network.train()
        tables = self.job.fit.batches(
            seed=recipe.seed, epoch=number, first_step=self.position.step, batch_size=recipe.batch_size,
            rank=self.worker.rank, of=self.worker.of,
        )  # fmt: skip
        for table, batches in self.waits.for_rows(ahead(map(self._batches, tables))):
            torch.manual_seed(self.position.seed(recipe.seed, self.worker.rank))
            step = self._step(table, batches)
            self.position = Position(number, self.position.step + 1, self.position.steps + 1)
            self._settle(step)
            self.sums.seconds = time.monotonic() - started
            if self.position.step < self.steps and self._checkpoint_due():
                self._settle(None)
                self._add_use()
                self._save(None)
                self._stop_if_asked()
            self._enter()
        self._settle(None)
        validation = self._validation()
        self._add_use()
        sums, seconds = self.sums, time.monotonic() - started
        self.journal.epochs.append(
            Epoch(
                number, sums.loss / sums.weight, validation, seconds, round(sums.weight), sums.cpu_seconds,
                _measured(sums.gpu_busy_seconds), _measured(sums.gpu_joules),
            )
        )  # fmt: skip
        self.sums, self.position = Sums(), Position(number + 1, 0, self.position.steps)
        if number % recipe.checkpoint_interval_epochs == 0 or number == recipe.epochs:
            self._save(validation)
        if self.worker.rank == 0:
            self.journal.write(self.job.run_folder)
            if self.worker.on_epoch is not None:
                self.checkpoints.wait()
                self.worker.on_epoch(self.journal.epochs[-1])

    def _checkpoint_due(self) -> bool:
        """Whether the recipe wants a checkpoint here, or the former step told all workers to leave one."""
        every = self.job.recipe.checkpoint_interval_steps
        due = self.noticed or self.stop or (every is not None and self.position.steps % every == 0)
        self.noticed = False
        return due

    def _stop_if_asked(self) -> None:
        if self.stop:
            self.checkpoints.wait()
            raise Interrupted(
                object=f"training run {self.job.run_folder.name}",
                observed=f"it was asked to stop, and did with a checkpoint after step {self.position.steps}",
                expected="that it comes to its end",
                next_step="start it again: it goes on from there",
            )

    def _batches(self, table: pa.Table) -> tuple[pa.Table, Sequence[Batch]]:
        """The rows of a step, and the batches that it accumulates."""
        of = self.job.recipe.scale.accumulate
        ends = [len(table) * place // of for place in range(of + 1)]
        return table, [self.job.program.batch(table.slice(a, b - a)) for a, b in itertools.pairwise(ends)]

    def _step(self, table: pa.Table, batches: Sequence[Batch]) -> Step:
        """Changes the weights by the rows of a step; all workers together, each with its part of the rows."""
        recipe, device = self.job.recipe, self.worker.device
        self.optimizer.zero_grad(set_to_none=True)
        own = torch.zeros(2, dtype=torch.float64, device=device)
        asked = torch.tensor(self.requests.counts(), dtype=torch.float64, device=device)
        for place, batch in enumerate(batches, 1):
            last = place == len(batches)
            with parallel.adding_up(self.network, last=last):
                loss = self._loss(self.network, batch)
                own += loss.detach()
                everyone = torch.cat([own, asked])
                # While the gradients of the last batch are computed, losses and requests are exchanged.
                exchange = dist.all_reduce(everyone, async_op=True) if last and self.worker.of > 1 else None
                loss[0].backward()
        if exchange is not None:
            exchange.wait()
        weight = everyone[1]
        factor = torch.where(weight > 0, self.worker.of / weight, weight)
        parallel.multiply_gradients(self.trained, factor)
        if recipe.maximum_gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.trained, recipe.maximum_gradient_norm)
        self.optimizer.step()
        self.schedule.step()
        return Step.begun(everyone, own, table, self.position)

    def _loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """[2]: the sum of the losses of a batch's rows, and its weight."""
        with parallel.arithmetic(self.job.recipe, self.worker.device):
            loss = self.job.program.loss(network, self._on_device(batch))
        return torch.stack([loss.total.double(), loss.weight.to(loss.total.device).double()])

    def _on_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.worker.device, non_blocking=True) for name, tensor in batch.items()}

    @torch.no_grad()
    def _validation(self) -> float:
        """The mean loss of the held-out rows."""
        self.network.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self.worker.device)
        size, rank, of = self.job.recipe.batch_size, self.worker.rank, self.worker.of
        for table in ahead(self.job.holdout.in_order(batch_size=size, rank=rank, of=of)):
            sums += self._loss(self.plain, self.job.program.batch(table))
        if self.worker.of > 1:
            dist.all_reduce(sums)
        loss, weight = sums.tolist()
        return loss / weight if weight else math.nan

    def _add_use(self) -> None:
        """Adds what all workers used since the last time."""
        use = torch.tensor(astuple(self.meter.read()), dtype=torch.float64, device=self.worker.device)
        if self.worker.of > 1:
            dist.all_reduce(use)
        cpu_seconds, gpu_busy_seconds, gpu_joules = use.tolist()
        self.sums.cpu_seconds += cpu_seconds
        self.sums.gpu_busy_seconds += gpu_busy_seconds
        self.sums.gpu_joules += gpu_joules

    def _settle(self, step: Step | None) -> None:
        """Adds up the former step's loss, and keeps this one for later.

        Raises:
            TrainingError: if the loss is no finite number; the rows of the workers where it is none are kept.
        """
        former, self.pending = self.pending, step
        if former is None:
            return
        loss, weight, notices, stops = former.sums()
        if not math.isfinite(loss):
            self.checkpoints.wait()
            kept = former.keep(self.job.run_folder, self.worker.rank)
            raise TrainingError(
                object=f"training run {self.job.run_folder.name}",
                observed=f"a loss of {loss} in epoch {former.position.epoch}, step {former.position.step + 1}",
                expected=f"a finite loss; the rows of the step are kept in {kept}",
                next_step="look at them; correct the training set, lower the learning rate, or set "
                "maximum_gradient_norm",
            )
        self.sums.loss += loss
        self.sums.weight += weight
        self.stop = self.stop or stops > 0
        # A notice stays until the machine is gone: one checkpoint answers it.
        self.noticed, self.notices = self.noticed or notices > self.notices, notices
        self.speed.amount += weight

    def _save(self, loss: float | None) -> None:
        notes = {
            "epochs": [asdict(epoch) for epoch in self.journal.epochs],
            "resumed_after": self.journal.resumed_after,
            "sums": asdict(self.sums),
        }
        with self.waits.for_a_checkpoint():
            self.checkpoints.save(self.position, notes, loss=loss)

    def _enter(self) -> None:
        """Writes an entry within an epoch, if the last one is old enough."""
        if self.worker.rank == 0 and self.sums.weight and self.speed.entry_due():
            steps = self.steps * self.job.recipe.epochs
            per_second, left = self.speed.measured(self.position.steps, steps)
            self.journal.now = Progress(
                self.position.epoch, self.job.recipe.epochs, self.position.steps / steps,
                self.sums.loss / self.sums.weight, per_second, self.job.program.unit, left,
            )  # fmt: skip
            self.journal.write(self.job.run_folder)


def _measured(figure: float) -> float | None:
    return None if math.isnan(figure) else figure
