"""A run's checkpoints as its workers write and read them: sharded, beside the training steps, without pickles.

Each worker writes its share of a checkpoint (torch.distributed.checkpoint, as safetensors). A checkpoint holds no
worker's number: any number of workers, or one process alone, reads what others wrote.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.staging import BlockingAsyncStager

from ray_jobs.core.checkpoint_folder import MANIFEST, Checkpoint, Position, complete, file_digest, weights
from ray_jobs.core.errors import TrainingError

#: How many of the last checkpoints stay, beside the one with the lowest loss.
KEPT = 2
#: How the names of the optimizer's tensors begin; the number of the parameter and the tensor's name follow.
OPTIMIZER = "optimizer."


class Checkpoints:
    """The checkpoints of a worker, which all workers of a run write and read together.

    Parameters that need no gradient are left out: they are the base model's. With several workers, the default
    process group must exist, and each worker makes this object at the same point of its program.
    """

    def __init__(
        self,
        run_folder: Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        self._run_folder = run_folder
        self._network, self._optimizer, self._schedule = network, optimizer, schedule
        # A group of its own: writing goes on while the training steps use the default one.
        self._group: Any = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._rank, self._workers = (dist.get_rank(), dist.get_world_size()) if self._group else (0, 1)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None
        self._stager = BlockingAsyncStager()

    def save(self, position: Position, notes: Mapping[str, Any], *, loss: float | None = None) -> None:
        """Copies the state to memory and writes it in the background.

        Args:
            position: Where a resumed run goes on.
            notes: What JSON holds; the first worker's are kept.
            loss: The validation loss of the weights as they are.

        Raises:
            TrainingError: if the former checkpoint could not be written.
        """
        self.wait()
        folder = self._run_folder / f"step-{position.steps:09d}"
        writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
        staged = self._staged(self._tensors())
        groups = [
            {name: value for name, value in group.items() if name != "params"} for group in self._optimizer.param_groups
        ]
        values = {"optimizer": groups, "schedule": self._schedule.state_dict()}
        # As JSON, because the objects change while the checkpoint is written.
        frozen = json.dumps({"notes": dict(notes), "values": values})
        self._written = self._writer.submit(self._write, writer, staged, folder, position, loss, frozen)

    def wait(self) -> None:
        """Returns when the last checkpoint is on the disk; raises TrainingError if it could not be written."""
        if self._written is not None:
            written, self._written = self._written, None
            written.result()

    def restore(self) -> Checkpoint | None:
        """Loads the last checkpoint and removes what interrupted writes left; None if there is no checkpoint yet.

        Raises:
            TrainingError: if the checkpoint is damaged.
        """
        last: Checkpoint | None = None
        with self._together("read the run's checkpoints"):
            if self._rank == 0:
                for folder in self._run_folder.glob("step-*"):
                    if not (folder / MANIFEST).exists():
                        shutil.rmtree(folder)
        with self._together("read the run's checkpoints"):
            last = next(reversed(complete(self._run_folder)), None)
            if last is not None:
                last.verify(rank=self._rank, of=self._workers)
        if last is not None:
            self._load(last)
        return last

    def _write(
        self,
        writer: dcp.HuggingFaceStorageWriter,
        staged: dict[str, Any],
        folder: Path,
        position: Position,
        loss: float | None,
        frozen: str,
    ) -> None:
        own: dict[str, str] = {}
        with self._together(f"write the checkpoint {folder}"):
            dcp.save(staged, storage_writer=writer, process_group=self._group, no_dist=self._group is None)
            # The writer numbers the workers' files from 1.
            own = {path.name: file_digest(path) for path in folder.glob(f"shard-{self._rank + 1:05d}-*")}
        checksums = {name: digest for part in self._gathered(own) for name, digest in part.items()}
        with self._together(f"finish the checkpoint {folder}"):
            if self._rank == 0:
                Checkpoint(folder, position, loss, files=checksums, **json.loads(frozen)).write()
                self._prune()

    def _prune(self) -> None:
        """Removes all but the last checkpoints and the one with the lowest loss."""
        checkpoints = complete(self._run_folder)
        measured = [checkpoint for checkpoint in checkpoints if checkpoint.loss is not None]
        best = min(measured, key=lambda checkpoint: checkpoint.loss or 0.0, default=None)
        for checkpoint in checkpoints[:-KEPT]:
            if checkpoint is not best:
                # First the manifest: a folder that a killed process leaves half removed is no checkpoint.
                (checkpoint.folder / MANIFEST).unlink()
                shutil.rmtree(checkpoint.folder)

    def _tensors(self) -> dict[str, Any]:
        """The trained parameters, the buffers and the optimizer's tensors, by name; shards where they are sharded.

        Workers' buffers may differ, such as running means of their rows: the first worker's count, as in DDP.
        """
        parameters = {parameter.data_ptr() for parameter in self._network.parameters()}
        states = self._optimizer.state_dict()["state"]
        return {
            name: tensor
            for name, tensor in weights(self._network).items()
            if self._rank == 0 or tensor.data_ptr() in parameters
        } | {
            f"{OPTIMIZER}{number}.{name}": value
            for number, state in states.items()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }

    def _staged(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """A copy in memory; from a GPU into that of the former checkpoint, which is pinned and therefore fast."""
        if tensors.keys() != (self._stager.state_dict_cache or {}).keys():
            on_gpu = any(parameter.is_cuda for parameter in self._network.parameters())
            self._stager = BlockingAsyncStager(cache_staged_state_dict=on_gpu)
        return self._stager.stage(tensors)

    def _load(self, checkpoint: Checkpoint) -> None:
        reader = dcp.HuggingFaceStorageReader(str(checkpoint.folder))
        parameters = [parameter.detach() for group in self._optimizer.param_groups for parameter in group["params"]]
        states: dict[int, dict[str, Tensor]] = {}
        tensors = weights(self._network)
        for key, saved in reader.read_metadata().state_dict_metadata.items():
            if key.startswith(OPTIMIZER) and isinstance(saved, TensorStorageMetadata):
                number, name = key.removeprefix(OPTIMIZER).split(".", 1)
                parameter, dtype = parameters[int(number)], saved.properties.dtype
                # What has a parameter's shape is sharded as the parameter is.
                sharded = saved.size == parameter.shape
                tensors[key] = (
                    torch.zeros_like(parameter, dtype=dtype) if sharded else torch.zeros(saved.size, dtype=dtype)
                )
                states.setdefault(int(number), {})[name] = tensors[key]
        with self._together(f"read the checkpoint {checkpoint.folder}"):
            dcp.load(tensors, storage_reader=reader, process_group=self._group, no_dist=self._group is None)
        fresh = self._optimizer.state_dict()["param_groups"]
        groups = zip(checkpoint.values["optimizer"], fresh, strict=True)
        self._optimizer.load_state_dict(
            {"state": states, "param_groups": [saved | {"params": group["params"]} for saved, group in groups]}
        )
        self._schedule.load_state_dict(dict(checkpoint.values["schedule"]))

    @contextlib.contextmanager
    def _together(self, what: str) -> Iterator[None]:
        """Raises a TrainingError in every worker if the block raised an error in one of them."""
        error: BaseException | None = None
        try:
            yield
        except (Exception, CheckpointException) as raised:  # noqa: BLE001 - every worker must get to the exchange below
            error = raised
        failures = [failure for failure in self._gathered(_failure(error, self._rank)) if failure]
        if isinstance(error, TrainingError):
            raise error
        if failures:
            rank, text = failures[0]
            raise TrainingError(
                object=f"worker {rank} of the training run in {self._run_folder}",
                observed=text,
                expected=f"that it could {what}",
                next_step="remove the cause; the run goes on from its last complete checkpoint",
            ) from error

    def _gathered(self, own: Any) -> list[Any]:
        """The values of all workers, by rank."""
        if self._group is None:
            return [own]
        values = [None] * self._workers
        dist.all_gather_object(values, own, group=self._group)
        return values


def _failure(error: BaseException | None, rank: int) -> tuple[int, str] | None:
    """The worker that failed, and its error in words."""
    if isinstance(error, CheckpointException) and error.failures:
        rank, (error, _) = next(iter(error.failures.items()))
    return (rank, f"{type(error).__name__}: {error}") if error else None
