"""The input of training: a table of many rows keeps two workers busy, and checkpoints hardly keep them from steps.

`python -m bench.train_input --rows N`: memory of writing and reading must not follow N.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from bench.pairs import Row
from pipelines.models.program import Window
from pipelines.settings import Settings
from ray_jobs.core.dataset import DatasetVersion
from tests.ray_jobs.tabular.made_up import REGRESSION, SCHEMA, START

ROWS, ROWS_AT_ONCE = 10_000_000, 500_000
DAYS = 100
#: 200 steps of it are measured, after 20; a checkpoint is written at every 100th.
BATCH, STEPS, WARM, EVERY = 8_192, 200, 20, 100
RECIPE = replace(
    REGRESSION,
    numeric=("now", "hour", "x", "y"),
    train_window=Window(START, START + timedelta(days=80)),
    batch_size=BATCH,
    hidden_widths=(256, 128),
)


def measure(settings: Settings, rows: int = ROWS) -> list[Row]:
    """Writes a made-up table, its shards, and trains on them in two processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = str(folder / "table")
        context = multiprocessing.get_context("spawn")
        version = 0
        for version, part in enumerate(_parts(rows)):  # noqa: B007 - of the last part
            write_deltalake(uri, part, mode="append")
        with context.Pool(1) as pool:
            seconds, written, memory = pool.apply(_write, (DatasetVersion(uri, version), folder))
        with context.Pool(2) as pool:
            workers = pool.starmap(_train, [(rank, folder) for rank in range(2)], chunksize=1)
    waiting, blocked, step, peak = (max(worker[place] for worker in workers) for place in range(4))
    return [
        Row(
            f"{rows:,} rows to shards ({written:,} of them to fit on)",
            f"{seconds:.0f} s, {written / seconds:,.0f} rows a second",
            "",
            None,
            f"peak {memory:,.0f} MB",
        ),
        Row(
            f"two workers wait for input (aim 5 %), steps of {BATCH:,} rows",
            f"{waiting:.1%}",
            "",
            None,
            f"a step {step * 1e3:.1f} ms, peak {peak:,.0f} MB a worker",
        ),
        Row(f"blocked by a checkpoint every {EVERY} steps (aim 2 %)", f"{blocked:.1%}", "", None),
    ]


def _parts(rows: int) -> Iterator[pa.Table]:
    random = np.random.default_rng(3)
    for first in range(0, rows, ROWS_AT_ONCE):
        number = np.arange(first, min(first + ROWS_AT_ONCE, rows))
        at = np.datetime64(START.replace(tzinfo=None), "us") + (number * (DAYS * 86_400_000_000 // rows)).astype(
            "m8[us]"
        )
        x, y, now, noise = random.standard_normal((4, len(number)))
        columns = {
            "row": np.char.add("r", number.astype("U9")),
            "event_timestamp": pa.array(at).cast(pa.timestamp("us", tz="UTC")),
            "known_at": pa.array(at).cast(pa.timestamp("us", tz="UTC")),
            "later": now + np.hypot(x, y) + 0.1 * noise,
            "kind": np.where(x > y, "red", "green"),
            "now": now,
            "hour": number % 24.0,
            "x": x,
            "y": y,
            "place": np.where(number % 2, "hill", "coast"),
        }
        yield pa.table(columns).cast(SCHEMA)


def _write(table: DatasetVersion, folder: Path) -> tuple[float, int, float]:
    """Seconds, examples, and the peak memory of the process in MB."""
    from ray_jobs.core import shard_writer
    from ray_jobs.core.sample import sampled_rows
    from ray_jobs.tabular.program import Tabular

    program = Tabular.fitted(RECIPE, sampled_rows(table, RECIPE, "fit", at_most=100_000), None)
    (folder / "program").write_bytes(pickle.dumps(program))
    started = time.perf_counter()
    shards = shard_writer.write(program, table, RECIPE, "fit", folder / "fit")
    return time.perf_counter() - started, shards.rows, _peak()


def _train(rank: int, folder: Path) -> tuple[float, float, float, float]:
    """Shares of the time that one worker waited for input and for checkpoints, seconds a step, peak memory in MB."""
    import torch
    import torch.distributed as dist

    from ray_jobs.core.checkpoint_folder import Position
    from ray_jobs.core.checkpoints import Checkpoints
    from ray_jobs.core.prefetch import ahead
    from ray_jobs.core.shards import Shards

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    program: Any = pickle.loads((folder / "program").read_bytes())
    plain = program.network()
    network = torch.nn.parallel.DistributedDataParallel(plain)
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    checkpoints = Checkpoints(folder / "run", plain, optimizer, schedule)
    tables = ahead(Shards.open(folder / "fit").batches(seed=1, epoch=1, batch_size=BATCH, rank=rank, of=2))
    waited = blocked = 0.0
    started = time.perf_counter()
    for step in range(STEPS + WARM):
        if step == WARM:
            waited, blocked, started = 0.0, 0.0, time.perf_counter()
        asked = time.perf_counter()
        table = next(tables)
        waited += time.perf_counter() - asked
        loss = program.loss(network, program.batch(table))
        optimizer.zero_grad()
        (loss.total / loss.weight).backward()
        optimizer.step()
        if step % EVERY == EVERY - 1:
            asked = time.perf_counter()
            checkpoints.save(Position(1, step, step), {})
            blocked += time.perf_counter() - asked
    seconds = time.perf_counter() - started
    checkpoints.wait()
    tables.close()
    dist.destroy_process_group()
    return waited / seconds, blocked / seconds, seconds / STEPS, _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    for row in measure(Settings(profile="test"), parser.parse_args().rows):
        print(f"{row.name}: {row.ours}; {row.note}")
