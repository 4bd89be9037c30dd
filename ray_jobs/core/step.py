"""What a training loop counts: a step that was begun, the sums of an epoch, and what it waited for between steps."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import torch
from torch import Tensor

from ray_jobs.core.checkpoint_folder import Position
from ray_jobs.core.meter import Use

T = TypeVar("T")


@dataclass(slots=True)
class Sums(Use):
    """Of the steps of an epoch so far, of all workers: losses, their weights, seconds, and what was used."""

    loss: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was begun, its rows, and where it was.

    `everyone` [4] are the sums of losses, weights, notices and requests to stop over all workers, `own` [2] the loss
    and weight of this one.
    """

    everyone: Tensor
    own: Tensor
    table: pa.Table
    position: Position
    _there: torch.cuda.Event | None = None

    @classmethod
    def begun(cls, everyone: Tensor, own: Tensor, table: pa.Table, position: Position) -> Step:
        """A step whose sums begin their way from the device: nothing waits for it yet."""
        if everyone.device.type != "cuda":
            return cls(everyone, own, table, position)
        there = torch.cuda.Event()
        copied = everyone.to("cpu", non_blocking=True)
        there.record()
        return cls(copied, own, table, position, there)

    def sums(self) -> tuple[float, ...]:
        """The values of `everyone`; waits for this step, and not for a later one that has begun."""
        if self._there is not None:
            self._there.synchronize()
        return tuple(self.everyone.tolist())

    def keep(self, run_folder: Path, rank: int) -> str:
        """Writes the rows, if their loss is no finite number; returns the pattern of the files of all workers."""
        name = f"stopped-step-{self.position.steps + 1:09d}-worker-"
        if not math.isfinite(self.own[0].item()):
            path = run_folder / f"{name}{rank}.arrow"
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, self.table.schema) as writer:
                writer.write_table(self.table)
        return str(run_folder / f"{name}*.arrow")


@dataclass(slots=True)
class Waits:
    """Seconds in which a worker began no step, since it waited for its rows or for a checkpoint."""

    rows: float = 0.0
    checkpoints: float = 0.0

    def for_rows(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the items, and counts the time until each is there."""
        iterator, end = iter(items), object()
        while True:
            started = time.perf_counter()
            item = next(iterator, end)
            self.rows += time.perf_counter() - started
            if item is end:
                return
            yield item  # ty: ignore[invalid-yield]

    @contextlib.contextmanager
    def for_a_checkpoint(self) -> Iterator[None]:
        """Counts the time of the block."""
        started = time.perf_counter()
        yield
        self.checkpoints += time.perf_counter() - started
