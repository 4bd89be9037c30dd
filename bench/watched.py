"""A training program that notes when each step begins."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from torch import nn

from pipelines.models.program import Unit
from ray_jobs.core.contest import Contender
from ray_jobs.core.dataset import Rows
from ray_jobs.core.program import Batch, Loss, Model


class Watched:
    """A `Program` that does what another one does; a validation writes the times of the steps before it to a file.

    Attributes:
        program: The other one.
        file: The JSON file; of several workers, each writes its own, with its number at the end of the name.
        times: When each step of this process began, in seconds of a monotonic clock.
        first_loss: The mean loss of the first step; 0 before it.
    """

    unit: ClassVar[Unit] = "rows"

    def __init__(self, program: Any, file: Path) -> None:
        self.program, self.file = program, file
        self.times: list[float] = []
        self.first_loss = 0.0

    def step(self) -> None:
        """Notes that a step begins."""
        self.times.append(time.perf_counter())

    def write(self, rank: int) -> None:
        """Writes the times of this process."""
        self.file.with_name(f"{self.file.name}-{rank}").write_text(json.dumps(self.times), encoding="utf-8")

    def examples(self, rows: Rows) -> pa.Table:
        return self.program.examples(rows)

    def network(self) -> nn.Module:
        return self.program.network()

    def batch(self, examples: pa.Table) -> Batch:
        return self.program.batch(examples)

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        import torch.distributed as dist

        if network.training:
            self.step()
        else:
            self.write(dist.get_rank() if dist.is_initialized() else 0)
        loss = self.program.loss(network, batch)
        self.first_loss = self.first_loss or (loss.total / loss.weight).item()
        return loss

    def trained(self, network: nn.Module, holdout: Rows) -> Model:
        return self.program.trained(network, holdout)

    def baselines(self, rows: Rows) -> Mapping[str, Contender]:
        return self.program.baselines(rows)
