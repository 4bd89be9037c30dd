"""The input of training: how long two workers wait for rows and for checkpoints, and memory that must not follow rows.

A made-up table is written, then its shards by a process of its own; then two workers train one epoch in the fabric's
loop, under `torchrun`. `python -m bench.train_input --rows N` measures N rows alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pickle
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from bench.pairs import Row
from bench.train_worker import torchrun
from bench.watched import Watched
from pipelines.models.program import Window
from pipelines.settings import Settings
from ray_jobs.core.dataset import DatasetVersion
from ray_jobs.core.loop import Job
from ray_jobs.core.shards import Shards
from ray_jobs.tabular.recipe import Recipe

ROWS, ROWS_AT_ONCE = (1_000_000, 10_000_000), 500_000
START, DAYS = datetime(2026, 1, 1, tzinfo=UTC), 100
#: A checkpoint is written at every 100th step.
BATCH, EVERY = 8_192, 100
RECIPE = Recipe(
    model_name="later", task="regression", label="later", row_key="row", time_column="at", known_at_column="at",
    numeric=("now", "hour", "x", "y"), categorical=("place",), interval_level=0.9, baseline_column="now",
    train_window=Window(START, START + timedelta(days=90)),
    gate_window=Window(START + timedelta(days=90), START + timedelta(days=DAYS)),
    batch_size=BATCH, hidden_widths=(256, 128), epochs=1, num_workers=2, checkpoint_interval_steps=EVERY,
)  # fmt: skip


def measure(settings: Settings, sizes: tuple[int, ...] = ROWS) -> list[Row]:
    """Writes tables of several sizes, their shards, and trains on them in two processes."""
    rows, peaks = [], []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            written = write_shards(write_table(folder / "table", size), folder)
            workers = _trained(folder)
        peaks.append((written["megabytes"], max(worker["megabytes"] for worker in workers)))
        waiting, blocked = (max(each[wait] / each["seconds"] for each in workers) for wait in ("rows", "checkpoints"))
        steps = int(written["rows"]) // BATCH
        speed = f"{written['seconds']:.0f} s, {written['rows'] / written['seconds']:,.0f} rows a second"
        step = f"a step of {BATCH:,} rows {workers[0]['seconds'] / steps * 1e3:.1f} ms"
        rows += [
            Row(f"{size:,} rows to shards ({written['rows']:,.0f} to fit on)", speed, "", None),
            Row(f"{size:,} rows: two workers wait for input (aim 5 %)", f"{waiting:.1%}", "", None, step),
            Row(f"{size:,} rows: blocked by a checkpoint every {EVERY} steps (aim 2 %)", f"{blocked:.1%}", "", None),
        ]
    if len(sizes) > 1:
        for what, (first, last) in zip(
            ("writing shards", "a worker"), zip(peaks[0], peaks[-1], strict=True), strict=True
        ):
            name = f"peak memory of {what}: {sizes[-1]:,} rows / {sizes[0]:,}"
            rows.append(Row(name, f"{last:,.0f} MB", f"{first:,.0f} MB", last / first))
    return rows


def write_table(folder: Path, rows: int) -> DatasetVersion:
    """A made-up table of 100 days, whose label follows from its columns."""
    version = 0
    for version, part in enumerate(_parts(rows)):  # noqa: B007 - of the last part
        write_deltalake(str(folder), part, mode="append")
    return DatasetVersion(str(folder), version)


def write_shards(table: DatasetVersion, folder: Path) -> dict[str, float]:
    """Writes `program`, `fit` and `holdout` into the folder; returns rows, seconds and the process's megabytes."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_write, (table, folder))


def _write(table: DatasetVersion, folder: Path) -> dict[str, float]:
    from ray_jobs.core import shard_writer
    from ray_jobs.core.sample import sampled_rows
    from ray_jobs.tabular.program import Tabular

    program = Tabular.fitted(RECIPE, sampled_rows(table, RECIPE, "fit", at_most=100_000), None)
    (folder / "program").write_bytes(pickle.dumps(program))
    started = time.perf_counter()
    shards = shard_writer.write(program, table, RECIPE, "fit", folder / "fit")
    seconds = time.perf_counter() - started
    shard_writer.write(program, table, RECIPE, "holdout", folder / "holdout")
    return {
        "rows": shards.rows,
        "seconds": seconds,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def job_of(folder: Path, **changes: object) -> Job:
    """A run on the shards of a folder, in a new run folder of it."""
    run_folder = Path(tempfile.mkdtemp(dir=folder))
    watched: Any = Watched(pickle.loads((folder / "program").read_bytes()), folder / "steps")
    recipe = replace(RECIPE, **changes)
    return Job(watched, recipe, Shards.open(folder / "fit"), Shards.open(folder / "holdout"), run_folder)


def _trained(folder: Path) -> list[dict[str, float]]:
    """What each worker saw: seconds of its steps, of its waiting for rows and for checkpoints, its megabytes."""
    torchrun("loop", job_of(folder), folder)
    return [json.loads((folder / f"loop-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


def _parts(rows: int) -> Iterator[pa.Table]:
    random = np.random.default_rng(3)
    for first in range(0, rows, ROWS_AT_ONCE):
        number = np.arange(first, min(first + ROWS_AT_ONCE, rows))
        since = (number * (DAYS * 86_400_000_000 // rows)).astype("m8[us]")
        at = pa.array(np.datetime64(START.replace(tzinfo=None), "us") + since).cast(pa.timestamp("us", tz="UTC"))
        x, y, now, noise = random.standard_normal((4, len(number)))
        yield pa.table(
            {
                "row": np.char.add("r", number.astype("U9")),
                "at": at,
                "later": now + np.hypot(x, y) + 0.1 * noise,
                "now": now,
                "hour": number % 24.0,
                "x": x,
                "y": y,
                "place": np.where(number % 2, "hill", "coast"),
            }
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append", help="a size; several are compared")
    for row in measure(Settings(profile="test"), tuple(parser.parse_args().rows or ROWS)):
        print(f"{row.name}: {row.ours} {row.peer}; {row.note}")
