"""Ray Train as the fabric uses it: how many workers there are, and a run of them to its end.

The only module that imports `ray.train.v2`, whose modules are private; pyproject.toml therefore pins Ray's minor
version. An environment variable decides whether a public name of `ray.train` is a class of Ray Train's first or second
version, so a type checker can't check calls of these classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ray
import ray.train
import ray.train.torch
import torch
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from ray_jobs.core import loop
from ray_jobs.core.errors import TrainingError

#: How often Ray Train's controller looks at its workers: so long a run may go on after its end, or after a failure.
LOOK_SECONDS = "0.2"
#: How often an elastic run looks for more workers; taking them starts all workers again.
RESIZE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Workers:
    """The training processes of a run, each with a GPU or with a CPU."""

    number: int
    accelerator: Literal["gpu", "cpu"]


def workers_for(recipe_name: str, wanted: int, *, fewest: int | None) -> Workers:
    """The workers that the connected cluster can run: with one GPU each where it has any, else with one CPU.

    A cluster with fewer GPUs than `wanted` runs as many workers as it has GPUs. An elastic run, which goes on with
    `fewest` workers, gets as many as `wanted`, or waits for them.

    Raises:
        TrainingError: if this process is not connected to a cluster, or the cluster has too few CPUs.
    """
    resources = ray.cluster_resources() if ray.is_initialized() else {}
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if gpus:
        return Workers(wanted if fewest else min(wanted, gpus), "gpu")
    if cpus < (fewest or wanted):
        raise TrainingError(
            object=f"recipe {recipe_name}",
            observed=f"a cluster with {cpus} CPUs" if resources else "this process is connected to no Ray cluster",
            expected=f"{fewest or wanted} CPUs, one per worker",
            next_step="connect to a larger cluster, or lower the recipe's num_workers",
        )
    return Workers(wanted, "cpu")


def run_workers(
    function: Callable[[Mapping[str, Any]], None],
    config: Mapping[str, Any],
    *,
    run_name: str,
    storage_path: str,
    workers: Workers,
    fewest: int | None,
    max_failures: int,
) -> None:
    """Runs `function(config)` in every worker, and starts all of them again after a failure of one.

    Args:
        function: What a worker does; after a failure it goes on by itself from what it left in the storage.
        config: What each worker gets; it is pickled.
        run_name: The name of the run's folder in the storage.
        storage_path: An absolute path that all nodes reach.
        workers: As `workers_for` returns them.
        fewest: With how many workers the run goes on when nodes leave; it takes more again when nodes come. None for
            all of them.
        max_failures: How many worker failures the run survives.

    Raises:
        TrainingError: if more workers failed.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", LOOK_SECONDS)
    trainer = TorchTrainer(
        function,
        train_loop_config=dict(config),
        scaling_config=ScalingConfig(
            num_workers=(fewest, workers.number) if fewest else workers.number,
            use_gpu=workers.accelerator == "gpu",
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        ),
        run_config=RunConfig(
            name=run_name,
            storage_path=storage_path,
            failure_config=FailureConfig(max_failures=max_failures),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise TrainingError(
            object=f"training run {run_name}",
            observed=str(error).strip(),
            expected=f"at most {max_failures} worker failures",
            next_step="remove the cause, and start it again: it goes on after the last checkpoint",
        ) from error


def worker_main(config: Mapping[str, Any]) -> None:
    """A worker of Ray Train: runs the training loop of `config["job"]` on its device."""
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(1)
    preemption = get_train_context().preemption_context
    worker = loop.Worker(
        context.get_world_rank(), context.get_world_size(), device, lambda: preemption.preemption_info is not None
    )
    loop.run(config["job"], worker)
