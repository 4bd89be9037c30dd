"""A program whose workers die: a run of it ends with the same weights as one of the program itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import torch.distributed as dist
from torch import nn

from pipelines.models.program import Unit
from ray_jobs.core.contest import Contender
from ray_jobs.core.dataset import Rows
from ray_jobs.core.program import Batch, Loss, Model, Program


@dataclass(frozen=True)
class Death:
    """Stands for a program's class: its last worker is killed before each of some steps since its start, in turn.

    Attributes:
        program: The class of the program that is trained.
        marks: An empty folder.
        steps: Numbers of steps, counted from the last start of the worker.
    """

    program: type[Program[Any]]
    marks: Path
    steps: tuple[int, ...]

    def fitted(self, recipe: Any, rows: Rows, base: Path | None) -> Any:
        return Mortal(self, self.program.fitted(recipe, rows, base))


@dataclass
class Mortal:
    """What `Death` makes of a program."""

    death: Death
    program: Program[Any]
    steps: int = 0
    unit: ClassVar[Unit] = "rows"

    def examples(self, rows: Rows) -> pa.Table:
        return self.program.examples(rows)

    def network(self) -> nn.Module:
        return self.program.network()

    def batch(self, examples: pa.Table) -> Batch:
        return self.program.batch(examples)

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        deaths = len(list(self.death.marks.iterdir()))
        self.steps += network.training
        if dist.get_rank() == dist.get_world_size() - 1 and [self.steps] == [*self.death.steps[deaths : deaths + 1]]:
            (self.death.marks / str(deaths)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.program.loss(network, batch)

    def trained(self, network: nn.Module, holdout: Rows) -> Model:
        return self.program.trained(network, holdout)

    def baselines(self, rows: Rows) -> Mapping[str, Contender]:
        return self.program.baselines(rows)
