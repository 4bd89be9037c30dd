"""One worker of `torchrun`: the fabric's loop without Ray, or a bare loop as the documentation of PyTorch shows it.

`torchrun --nproc-per-node 2 -m bench.train_worker loop|bare FOLDER` trains the job that the folder holds, and writes
the times of the steps, and what the loop waited for, beside it.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from bench.watched import Watched
from pipelines.settings import PROJECT
from ray_jobs.core.loop import WARM_UP_SHARE, Job, Loop, Worker


def main(side: str, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    job: Job = pickle.loads((folder / "job.pickle").read_bytes())
    worker = Worker(dist.get_rank(), dist.get_world_size(), torch.device("cpu"))
    if side == "loop":
        loop = Loop(job, worker)
        loop.run()
        waits = {"rows": loop.waits.rows, "checkpoints": loop.waits.checkpoints}
    else:
        _bare(job, worker)
        waits = {}
    watched: Any = job.program
    assert isinstance(watched, Watched)
    watched.write(worker.rank)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seen = {**waits, "seconds": watched.times[-1] - watched.times[0], "megabytes": memory}
    (folder / f"{side}-{worker.rank}.json").write_text(json.dumps(seen), encoding="utf-8")
    dist.destroy_process_group()


def _bare(job: Job, worker: Worker) -> None:
    """Trains on the same rows with the same network, optimizer and schedule, and does nothing else."""
    recipe, program = job.recipe, job.program
    torch.manual_seed(recipe.seed)
    network = nn.parallel.DistributedDataParallel(program.network())
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = job.fit.steps(recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps, pct_start=WARM_UP_SHARE
    )
    for epoch in range(1, recipe.epochs + 1):
        rows = job.fit.batches(
            seed=recipe.seed, epoch=epoch, batch_size=recipe.batch_size, rank=worker.rank, of=worker.of
        )
        for table in rows:
            optimizer.zero_grad(set_to_none=True)
            loss = program.loss(network, program.batch(table))
            (loss.total / loss.weight).backward()
            optimizer.step()
            schedule.step()


def torchrun(side: str, job: Job, folder: Path) -> None:
    """Trains a job in two processes of `torchrun`, as `bench.train_worker` says."""
    (folder / "job.pickle").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "bench.train_worker", side, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-3000:]}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
