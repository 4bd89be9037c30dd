"""Seconds a step of two workers: Ray Train through the fabric, the same loop under bare `torchrun`, and a bare loop.

All three train the same network on the same rows of the same shards; each run is a process group of its own, started
anew, by turns. Only steps are compared, not the start.
"""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from bench.pairs import Row
from bench.train_input import job_of, write_shards, write_table
from bench.train_worker import torchrun
from pipelines.settings import Settings
from ray_jobs.core.loop import Job

ROWS, ROUNDS = 1_000_000, 3
#: Rows of a step, and steps at the beginning that are not measured.
BATCHES, WARM = (8_192, 512), 10


def measure(settings: Settings) -> list[Row]:
    from pipelines.machine import ray_connection

    with tempfile.TemporaryDirectory() as name, ray_connection.connect(settings):
        folder = Path(name)
        table = write_table(folder / "table", ROWS)
        write_shards(table, folder)
        return [row for batch in BATCHES for row in _rows(folder, batch)]


def _rows(folder: Path, batch: int) -> list[Row]:
    sides = {"fabric": _through_ray, "loop": torchrun, "bare": torchrun}
    seen: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, run in sides.items():
            job = job_of(folder, batch_size=batch, checkpoint_interval_steps=None)
            run(side, job, folder)
            times = json.loads((folder / "steps-0").read_text(encoding="utf-8"))[WARM:]
            seen[side].append(statistics.median(b - a for a, b in itertools.pairwise(times)))
            shutil.rmtree(job.run_folder)
    ours = statistics.median(seen["fabric"])
    rows = []
    for side, words, aim in (
        ("loop", "the same loop under torchrun", " (aim 1.03)"),
        ("bare", "a bare loop under torchrun", ""),
    ):
        ratio = statistics.median(a / b for a, b in zip(seen["fabric"], seen[side], strict=True))
        peer = statistics.median(seen[side])
        name = f"a step of {batch:,} rows, 2 workers: Ray Train / {words}{aim}"
        rows.append(Row(name, f"{ours * 1e3:.1f} ms", f"{peer * 1e3:.1f} ms", ratio, f"median of {ROUNDS} runs each"))
    return rows


def _through_ray(side: str, job: Job, folder: Path) -> None:
    from ray_jobs.core import ray_train

    ray_train.run_workers(
        ray_train.worker_main, {"job": job}, run_name=job.run_folder.name, storage_path=str(job.run_folder.parent),
        workers=ray_train.Workers(2, "cpu"), fewest=None, max_failures=1,
    )  # fmt: skip
