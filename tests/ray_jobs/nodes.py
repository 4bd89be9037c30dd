"""Training runs on a cluster, of which a node is killed while they train, and another one comes.

As a program: `python -m tests.ray_jobs.nodes HOME FOLDER TABLE VERSION` trains two workers on two nodes, first as
`FOLDER/fixed`, which waits for another node, and then as `FOLDER/elastic`, which goes on with one worker meanwhile.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import nn

from ray_jobs.core.checkpoint_folder import complete
from ray_jobs.core.dataset import DatasetVersion
from ray_jobs.core.program import Batch, Loss
from ray_jobs.core.scale import Scale
from tests.ray_jobs import slow

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

KILLED_AFTER = 20
STORE_BYTES = 80 << 20
#: Beside a run's folder: the number of workers after each start, a line each.
WORKERS_FILE = "workers"


class Counted(slow.Slow):
    """A program that notes its number of workers."""

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        if next(_CALLS) == 0 and dist.get_rank() == 0:
            with Path(self.recipe.model_name).with_name(WORKERS_FILE).open("a", encoding="utf-8") as file:
                print(dist.get_world_size(), file=file)
        return super().loss(network, batch)


#: Those of a worker since its start.
_CALLS = itertools.count()


def main(home: str, folder: str, table: str, version: str) -> None:
    from pipelines.machine.ray_environment import prepare_environment
    from pipelines.settings import Settings

    prepare_environment(Settings(profile="test", home=Path(home)))
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "10"
    import ray
    from ray.cluster_utils import Cluster

    from ray_jobs.core import ray_train

    ray_train.RESIZE_SECONDS = 1.0
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    for name, fewest in (("fixed", None), ("elastic", 1)):
        _train(cluster, nodes, Path(folder, name), DatasetVersion(table, int(version)), fewest)
    ray.shutdown()
    cluster.shutdown()


def _train(cluster: Cluster, nodes: list[Any], folder: Path, table: DatasetVersion, fewest: int | None) -> None:
    from ray_jobs.core.train import train

    steps, run_folder = folder / slow.STEPS_FILE, folder / "run"
    folder.mkdir()
    steps.write_text(str(KILLED_AFTER))
    recipe = dataclasses.replace(
        slow.RECIPE, model_name=str(steps), num_workers=2, scale=Scale(elastic_from=fewest), max_failures=3
    )
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(
            train, Counted, recipe, table=table, storage_path=str(folder), run_name="run", model_dir=folder / "model"
        )
        _wait(lambda: run.done() or _steps(run_folder) == KILLED_AFTER)
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        if fewest:
            _wait(lambda: run.done() or _steps(run_folder) == 2 * KILLED_AFTER)
        nodes.append(cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES))
        if fewest:
            _wait(lambda: run.done() or (folder / WORKERS_FILE).read_text(encoding="utf-8") == "2\n1\n2\n")
        steps.write_text("1000")
        run.result()


def _steps(run_folder: Path) -> int:
    """The steps of the last checkpoint; 0 while there is none, or another one is removed."""
    try:
        return max((checkpoint.position.steps for checkpoint in complete(run_folder)), default=0)
    except FileNotFoundError:
        return 0


def _wait(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
