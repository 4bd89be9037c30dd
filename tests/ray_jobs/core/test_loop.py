"""What ends a run without a restart: it is told in words, and what it spoilt is not kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.models.program import Progress, RecipeError
from ray_jobs.core import checkpoint_folder, parallel, shard_writer, speed
from ray_jobs.core.loop import Job, Loop, Worker, run
from ray_jobs.core.progress import Journal
from ray_jobs.core.scale import Scale
from ray_jobs.core.shards import ROW_KEY
from tests.ray_jobs import process_group
from tests.ray_jobs.toy_program import RECIPE, Toy, toy_table


def _job(folder: Path, program: Toy) -> Job:
    """A job of a run whose examples are written."""
    fit, holdout = (
        shard_writer.write(program, toy_table(folder / f"{part}-table"), program.recipe, part, folder / part)
        for part in ("fit", "holdout")
    )
    (folder / "run").mkdir()
    return Job(program, program.recipe, fit, holdout, folder / "run")


def _work(rank: int, of: int, job: Job) -> None:
    run(job, Worker(rank, of, process_group.device(rank)))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_rows_of_its_step(tmp_path: Path) -> None:
    recipe = replace(RECIPE, checkpoint_interval_steps=1)
    shards = _job(tmp_path / "all", Toy(recipe)).fit
    steps = list(shards.batches(seed=recipe.seed, epoch=1, batch_size=recipe.batch_size))
    spoilt = steps[2].slice(0, 1)
    text = "".join(chr(97 + token) for token in spoilt["tokens"][0].as_py())
    job = _job(tmp_path / "spoilt", Toy(recipe, factors={text: float("nan")}))
    process_group.run(_work, 2, job, workers=2)
    journal = Journal.read(job.run_folder)
    assert journal is not None
    assert journal.stopped is not None
    assert journal.stopped["observed"] == "a loss of nan in epoch 1, step 3"
    kept = sorted(job.run_folder.glob("stopped-step-000000003-worker-*.arrow"))
    assert len(kept) == 1  # the other worker's rows are sound
    with pa.memory_map(str(kept[0])) as file:
        assert spoilt[ROW_KEY][0].as_py() in pa.ipc.open_file(file).read_all()[ROW_KEY].to_pylist()
    assert [checkpoint.position.steps for checkpoint in checkpoint_folder.complete(job.run_folder)] == [1, 2]


def test_what_the_workers_cannot_do_stands_in_the_journal(tmp_path: Path) -> None:
    recipe = replace(RECIPE, num_workers=2, scale=Scale(strategy="fsdp"))
    job = _job(tmp_path, Toy(recipe))
    run(job, Worker(0, 1, process_group.device()))
    journal = Journal.read(job.run_folder)
    assert journal is not None
    assert journal.stopped == {
        "kind": "RecipeError",
        "object": "recipe of toy: scale.strategy",
        "observed": "one process without a group",
        "expected": "ddp, or 2 workers or more",
        "next": "correct it in the recipe, or train on other machines",
    }


@pytest.mark.parametrize(
    ("scale", "workers", "problem"),
    [
        (Scale(precision="bf16"), 1, r"scale\.precision: devices without it"),
        (Scale(accumulate=8), 3, "batch_size: 16 rows for 3 workers that accumulate 8 batches.*24 or more"),
    ],
)
def test_a_scale_that_the_workers_cannot_have_is_refused(scale: Scale, workers: int, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        parallel.require(replace(RECIPE, scale=scale), workers=workers, bf16=False)


def test_progress_within_an_epoch_is_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "ENTRY_SECONDS", 0.0)
    job = _job(tmp_path, Toy(replace(RECIPE, epochs=1)))
    run(job, Worker(0, 1, process_group.device()))
    journal = Journal.read(job.run_folder)
    assert journal is not None
    assert isinstance(journal.now, Progress)
    assert (journal.now.epoch, journal.now.epochs, journal.now.done, journal.now.unit) == (1, 1, 1.0, "tokens")
    assert journal.now.per_second > 0
    assert journal.now.seconds_left == 0
    assert journal.now.loss == pytest.approx(journal.epochs[0].train_loss, rel=0.1)


def test_an_epoch_counts_the_processor_time_of_all_workers_and_gpus_where_there_are_any(tmp_path: Path) -> None:
    job = _job(tmp_path, Toy(RECIPE))
    process_group.run(_work, 2, job, workers=2)
    journal = Journal.read(job.run_folder)
    assert journal is not None
    for epoch in journal.epochs:
        assert epoch.cpu_seconds > 0
        on_gpu = process_group.device().type == "cuda"
        assert (epoch.gpu_busy_seconds is not None, epoch.gpu_joules is not None) == (on_gpu, on_gpu)


def test_a_loop_counts_what_it_waits_for(tmp_path: Path) -> None:
    loop = Loop(_job(tmp_path, Toy(RECIPE)), Worker(0, 1, process_group.device()))
    loop.run()
    assert loop.waits.rows > 0
    assert loop.waits.checkpoints > 0
