"""Checkpoints of one and of several processes: resumed to the bit, read by another number of workers, and verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.distributed as dist
from torch import nn

from ray_jobs.core.checkpoint_folder import MANIFEST, Checkpoint, Position, complete
from ray_jobs.core.checkpoints import Checkpoints
from ray_jobs.core.errors import TrainingError
from tests.ray_jobs import process_group

Strategy = Literal["alone", "ddp", "fsdp"]


class Small(nn.Module):
    """A network with what a checkpoint has to tell apart: frozen, unused and tied parameters, and buffers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.frozen = nn.Linear(5, 7).requires_grad_(False)
        self.norm = nn.BatchNorm1d(7)
        self.inner = nn.Linear(7, 7)
        self.outer = nn.Linear(7, 7)
        self.outer.weight = self.inner.weight
        self.last = nn.Sequential(nn.Dropout(0.3), nn.Linear(7, 1))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.outer(torch.relu(self.inner(self.norm(self.frozen(x))))))


class Run:
    """A training run of some steps, of which each saves a checkpoint."""

    def __init__(self, folder: Path, rank: int, strategy: Strategy) -> None:
        self.rank, self.device = rank, process_group.device(rank)
        self.network = Small().to(self.device)
        wrapped: Any = self.network
        if strategy == "ddp":
            wrapped = nn.parallel.DistributedDataParallel(self.network, find_unused_parameters=True)
        elif strategy == "fsdp":
            from torch.distributed.fsdp import fully_shard

            fully_shard(self.network)
        self.wrapped = wrapped
        trained = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-2)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, 1e-2, total_steps=10)
        self.checkpoints = Checkpoints(folder, wrapped, self.optimizer, self.schedule)
        self.restored = self.checkpoints.restore()
        self.done = self.restored.position.steps if self.restored else 0

    def until(self, steps: int, *, losses: tuple[float, ...] = ()) -> None:
        for number in range(self.done, steps):
            torch.manual_seed(Position(1, number, number).seed(3, self.rank))
            self.optimizer.zero_grad()
            self.wrapped(torch.randn(6, 5, device=self.device)).square().mean().backward()
            self.optimizer.step()
            self.schedule.step()
            loss = losses[number] if losses else None
            self.checkpoints.save(Position(1, number + 1, number + 1), {"step": number + 1}, loss=loss)
        self.checkpoints.wait()

    def weights(self) -> dict[str, list[float]]:
        state = self.wrapped.state_dict()
        return {name.removeprefix("module."): _whole(tensor).tolist() for name, tensor in state.items()}


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor, of which a worker may hold a shard alone, on the CPU."""
    from torch.distributed.tensor import DTensor

    if not isinstance(tensor, DTensor):
        return tensor.cpu()
    # Not DTensor.full_tensor: between processes that share a GPU it never returns.
    shards: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shards, tensor.to_local().cpu())
    return torch.cat(shards)


def steps(rank: int, folder: Path, strategy: Strategy, number: int) -> dict[str, list[float]]:
    """The weights after a number of steps."""
    run = Run(folder, rank, strategy)
    run.until(number)
    return run.weights()


def steps_at_once_and_resumed(
    rank: int, folder: Path, strategy: Strategy
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    at_once = steps(rank, folder / "at_once", strategy, 5)
    steps(rank, folder / "resumed", strategy, 2)
    resumed = Run(folder / "resumed", rank, strategy)
    before = resumed.done
    resumed.until(5)
    return before, at_once, resumed.weights()


@pytest.mark.parametrize(("strategy", "workers"), [("alone", 1), ("ddp", 2), ("fsdp", 2)])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, strategy: Strategy, workers: int) -> None:
    results = process_group.run(steps_at_once_and_resumed, tmp_path, strategy, workers=workers)
    assert [before for before, _, _ in results] == [2] * workers
    _, at_once, resumed = results[0]
    assert resumed == at_once


def load(rank: int, folder: Path) -> tuple[dict[str, Any], dict[str, list[float]], dict[str, Any]]:
    run = Run(folder, rank, "fsdp")
    assert run.restored is not None
    moments = {
        f"{number}.{name}": _whole(value).tolist()
        for number, state in run.optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    return dict(run.restored.notes), run.weights(), moments


def test_another_number_of_workers_goes_on_with_the_same_state(tmp_path: Path) -> None:
    [trained, _] = process_group.run(steps, tmp_path, "fsdp", 3, workers=2)
    [(notes, weights, moments)] = process_group.run(load, tmp_path, workers=1)
    assert (notes, weights) == ({"step": 3}, trained)
    assert moments["1.step"] == 3.0
    assert process_group.run(load, tmp_path, workers=3) == [(notes, weights, moments)] * 3


def test_a_network_outside_of_the_run_gets_the_weights(tmp_path: Path) -> None:
    [trained, _] = process_group.run(steps, tmp_path, "fsdp", 2, workers=2)
    network = Small()
    complete(tmp_path)[-1].load_weights(network)
    assert {name: tensor.tolist() for name, tensor in network.state_dict().items()} == trained


def test_frozen_parameters_are_not_written(tmp_path: Path) -> None:
    from safetensors import safe_open

    process_group.run(steps, tmp_path, "alone", 1, workers=1)
    [checkpoint] = complete(tmp_path)
    [name] = checkpoint.files
    with safe_open(checkpoint.folder / name, framework="pt") as file:
        names = set(file.keys())
    assert "inner.weight" in names
    assert "norm.running_mean" in names
    assert not {name for name in names if name.startswith("frozen")}


def test_the_last_two_checkpoints_and_the_best_are_kept(tmp_path: Path) -> None:
    def one(losses: tuple[float, ...]) -> None:
        Run(tmp_path, 0, "alone").until(len(losses), losses=losses)

    one((0.5, 0.2, 0.4, 0.3, 0.3))
    assert [checkpoint.position.steps for checkpoint in complete(tmp_path)] == [2, 4, 5]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two workers that saved two checkpoints."""
    folder = tmp_path_factory.mktemp("written")
    process_group.run(steps, folder, "ddp", 2, workers=2)
    return folder


def _turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a bit": lambda folder: _turn_a_bit(next(folder.glob("shard-00002-*"))),
    "cut off": lambda folder: next(folder.glob("shard-00001-*")).write_bytes(b""),
    "absent": lambda folder: next(folder.glob("shard-00001-*")).unlink(),
    "too many": lambda folder: (folder / "shard-00003-model-00001-of-00001.safetensors").write_bytes(b""),
    "manifest": lambda folder: _turn_a_bit(folder / MANIFEST),
    "emptied manifest": lambda folder: (folder / MANIFEST).write_text("{}"),
    "position": lambda folder: (folder / MANIFEST).write_text(
        (folder / MANIFEST).read_text().replace('"steps": 2', '"steps": 1')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_by_place(tmp_path: Path, written: Path, damage: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(written, folder)
    DAMAGES[damage](folder / "step-000000002")
    with pytest.raises(TrainingError, match="step-000000002") as error:
        Run(folder, 0, "alone")
    assert "remove the folder" in error.value.next_step
    shutil.rmtree(folder / "step-000000002")
    assert Run(folder, 0, "alone").done == 1


def test_an_interrupted_write_counts_for_nothing_and_is_removed(tmp_path: Path, written: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(written, folder)
    (folder / "step-000000002" / MANIFEST).unlink()
    assert Run(folder, 0, "alone").done == 1
    assert [path.name for path in folder.iterdir()] == ["step-000000001"]


def test_a_pickle_in_the_place_of_a_file_is_not_read(tmp_path: Path, written: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(written, folder)
    checkpoint = complete(folder)[-1]
    for name in checkpoint.files:
        torch.save({"inner.weight": torch.zeros(7, 7)}, checkpoint.folder / name)
    with pytest.raises(TrainingError, match="checksum"):
        checkpoint.load_weights(Small())


def save_where_the_second_worker_cannot_write(rank: int, folder: Path) -> str:
    run = Run(folder, rank, "ddp")
    run.until(1)
    if rank == 1:
        run.checkpoints._run_folder = Path("/dev/full")
    try:
        run.until(2)
    except TrainingError as error:
        return str(error)
    return "no error"


def test_a_failed_write_is_an_error_of_every_worker_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    for text in process_group.run(save_where_the_second_worker_cannot_write, tmp_path, workers=2):
        assert "worker 1" in text
        assert "/dev/full" in text
    assert [checkpoint.position.steps for checkpoint in complete(tmp_path)] == [1]


def test_the_manifest_says_what_json_holds_to_the_bit(tmp_path: Path) -> None:
    tmp_path.joinpath("step-1").mkdir()
    loss = 0.1 + 0.2
    Checkpoint(tmp_path / "step-1", Position(2, 3, 9), loss, {"text": "ü"}, {}, {"schedule": {"x": 1e-300}}).write()
    read = Checkpoint.read(tmp_path / "step-1")
    assert (read.loss, read.position, read.values) == (loss, Position(2, 3, 9), {"schedule": {"x": 1e-300}})
    assert json.loads((tmp_path / "step-1" / MANIFEST).read_text())["content"]["notes"] == {"text": "ü"}
