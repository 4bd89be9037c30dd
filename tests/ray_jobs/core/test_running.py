"""Runs that are killed or interrupted: they go on, once, and end as one that was not."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from pipelines.machine import ray_head
from pipelines.settings import PROJECT, Settings
from ray_jobs.core import requests, shard_writer
from ray_jobs.core.checkpoint_folder import complete
from ray_jobs.core.dataset import DatasetVersion
from ray_jobs.core.loop import Job, Worker, run
from ray_jobs.core.progress import Journal
from ray_jobs.core.sample import sampled_rows
from tests.ray_jobs import process_group
from tests.ray_jobs.nodes import WORKERS_FILE
from tests.ray_jobs.slow import RECIPE, STEPS_FILE
from tests.ray_jobs.tabular.made_up import made_up_table

STEPS = 64


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return made_up_table(tmp_path_factory.mktemp("made_up"))


@pytest.fixture(scope="module")
def job(made_up: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Job]:
    """Makes the job of a run in a folder; the examples are written once."""
    from ray_jobs.tabular.program import Tabular

    program = Tabular.fitted(RECIPE, sampled_rows(made_up, RECIPE, "fit"), None)
    folder = tmp_path_factory.mktemp("examples")
    fit = shard_writer.write(program, made_up, RECIPE, "fit", folder / "fit")
    holdout = shard_writer.write(program, made_up, RECIPE, "holdout", folder / "holdout")
    assert fit.steps(RECIPE.batch_size) * RECIPE.epochs == STEPS
    return lambda run_folder: Job(program, RECIPE, fit, holdout, run_folder)


class Notice:
    """Tells one worker from some step on that its machine goes away."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self) -> bool:
        self.after -= 1
        return self.after < 0


def work(rank: int, job: Job, workers: int, notice: int) -> None:
    import torch

    after = notice if rank == workers - 1 else STEPS
    run(job, Worker(rank, workers, torch.device("cpu"), Notice(after)))


def _ended(folder: Path) -> tuple[Journal, dict[str, bytes], list[int]]:
    """The journal of a run, the tensors of its last checkpoint, and the steps of its checkpoints."""
    journal = Journal.read(folder)
    assert journal is not None
    checkpoints = complete(folder)
    checkpoints[-1].verify()
    tensors = {
        name: tensor.tobytes()
        for file in checkpoints[-1].files
        for name, tensor in load_file(checkpoints[-1].folder / file).items()
    }
    return journal, tensors, [checkpoint.position.steps for checkpoint in checkpoints]


@pytest.fixture(scope="module")
def calm(job: Callable[[Path], Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one worker that nothing interrupted."""
    folder = tmp_path_factory.mktemp("calm")
    process_group.run(work, job(folder), 1, STEPS, workers=1)
    return folder


def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint_and_goes_on_as_if_it_had_not(
    job: Callable[[Path], Job], calm: Path, tmp_path: Path
) -> None:
    requests.ask_to_stop(tmp_path)
    process_group.run(work, job(tmp_path), 1, STEPS, workers=1)
    journal, _, [steps] = _ended(tmp_path)
    assert journal.stopped is not None
    assert journal.stopped["kind"] == "Interrupted"
    assert steps == 2  # the first step tells all workers, who act after the second
    requests.withdraw(tmp_path)
    process_group.run(work, job(tmp_path), 1, STEPS, workers=1)
    journal, weights, _ = _ended(tmp_path)
    assert (journal.stopped, journal.resumed_after) == (None, [2])
    assert weights == _ended(calm)[1]


def test_a_notice_to_one_worker_lets_all_leave_one_checkpoint_and_go_on(
    job: Callable[[Path], Job], tmp_path: Path
) -> None:
    process_group.run(work, job(tmp_path), 2, 61, workers=2)
    journal, _, steps = _ended(tmp_path)
    assert (journal.stopped, len(journal.epochs)) == (None, RECIPE.epochs)
    assert steps[-2:] == [63, 64]  # the 62nd step tells; 60 and 65 would be the recipe's


def test_fewer_workers_go_on_where_more_stopped(job: Callable[[Path], Job], calm: Path, tmp_path: Path) -> None:
    requests.ask_to_stop(tmp_path)
    process_group.run(work, job(tmp_path), 3, STEPS, workers=3)
    requests.withdraw(tmp_path)
    process_group.run(work, job(tmp_path), 1, STEPS, workers=1)
    journal, _, _ = _ended(tmp_path)
    assert journal.resumed_after == [2]
    losses = [[epoch.validation_loss for epoch in _ended(folder)[0].epochs] for folder in (tmp_path, calm)]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)  # other units were dropped in the first steps


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a cluster that outlives its processes."""
    folder = tmp_path_factory.mktemp("home")
    head = ray_head.start_head(Settings(profile="test", home=folder))
    yield folder
    head.stop()


Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(home: Path, made_up: DatasetVersion, tmp_path: Path) -> Iterator[Start]:
    """Starts a process that trains in a place; it is killed at the end of the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(place: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.ray_jobs.slow", str(home), str(tmp_path / "run"), place]
        process = subprocess.Popen(
            [*command, made_up.uri, str(made_up.version)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def _steps(run_folder: Path) -> int:
    """The steps of the last checkpoint; 0 while there is none, or another one is removed."""
    try:
        return max((checkpoint.position.steps for checkpoint in complete(run_folder)), default=0)
    except FileNotFoundError:
        return 0


def _wait(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    while not condition():
        assert process.poll() is None
        time.sleep(0.05)


@pytest.mark.ray
@pytest.mark.slow
def test_processes_that_are_killed_or_interrupted_lose_nothing_and_start_nothing_twice(
    start: Start, calm: Path, tmp_path: Path
) -> None:
    run_folder, steps = tmp_path / "run", tmp_path / STEPS_FILE
    steps.write_text("40")
    # A process that waits for a job of the cluster is killed: the job goes on.
    first = start("cluster")
    _wait(first, lambda: _steps(run_folder) == 40)
    first.kill()
    # The next one waits for that job; an interruption lets the run leave a checkpoint and end.
    second = start("cluster")
    assert second.stdout is not None
    assert second.stdout.readline().startswith("epoch 1")  # the epoch that the first process was told as well
    second.terminate()
    _wait(second, (run_folder / requests.STOP_FILE).exists)
    steps.write_text("1000")
    second.communicate(timeout=120)
    assert second.returncode == 143
    journal, _, [*_, stopped] = _ended(run_folder)
    assert journal.stopped is not None
    assert (journal.stopped["kind"], journal.resumed_after) == ("Interrupted", [])
    assert 40 < stopped < STEPS
    # And the one after it goes on from there, wherever it trains.
    third = start("process")
    third.communicate(timeout=240)
    assert third.returncode == 0
    journal, weights, _ = _ended(run_folder)
    assert (journal.stopped, journal.resumed_after) == (None, [stopped])
    assert weights == _ended(calm)[1]
    assert (tmp_path / "run-model" / "model.safetensors").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_survives_the_kill_of_a_node_and_takes_another_one(
    job: Callable[[Path], Job], made_up: DatasetVersion, tmp_path: Path
) -> None:
    process_group.run(work, job(tmp_path / "calm"), 2, STEPS, workers=2)
    command = [sys.executable, "-m", "tests.ray_jobs.nodes", str(tmp_path / "home"), str(tmp_path)]
    subprocess.run([*command, made_up.uri, str(made_up.version)], cwd=PROJECT, check=True, timeout=600)
    for name, workers, resumed in (("fixed", "2 2", [20]), ("elastic", "2 1 2", [20, 40])):
        started = (tmp_path / name / WORKERS_FILE).read_text(encoding="utf-8").split()
        journal, weights, _ = _ended(tmp_path / name / "run")
        resumed_after = journal.resumed_after
        if name == "elastic":
            # A start of more workers that fails on a busy machine is repeated, from the same checkpoint.
            started, resumed_after = [n for n, _ in itertools.groupby(started)], list(dict.fromkeys(resumed_after))
        assert started == workers.split()
        assert (journal.stopped, resumed_after, len(journal.epochs)) == (None, resumed, RECIPE.epochs)
        assert (tmp_path / name / "model" / "model.safetensors").exists()
        if name == "fixed":
            assert weights == _ended(tmp_path / "calm")[1]
