"""Ray Train as the programs use it: how many workers there are, and a run of them to its last checkpoint.

The only module that imports `ray.train.v2`, whose modules are private; pyproject.toml therefore pins Ray's minor
version. An environment variable decides whether a public name of `ray.train` is a class of Ray Train's first or second
version, so a type checker can't check calls of these classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.train import Checkpoint
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from ray_jobs.core.errors import TrainingError

__all__ = ["UserCallback", "Workers", "run_workers", "workers_for"]

CHECKPOINTS_KEPT = 2
#: How often Ray Train's controller looks at its workers. A worker waits at each report until it has looked; Ray's own
#: two seconds are more than an epoch of a small table takes.
LOOK_SECONDS = "0.2"


@dataclass(frozen=True, slots=True)
class Workers:
    """The training processes of a run, each with a GPU or with a CPU."""

    number: int
    accelerator: Literal["gpu", "cpu"]


def workers_for(recipe_name: str, wanted: int) -> Workers:
    """The workers that the connected cluster can run: with one GPU each where it has any, else with one CPU.

    A cluster with fewer GPUs than `wanted` runs as many workers as it has GPUs.

    Raises:
        TrainingError: if this process is not connected to a cluster, or the cluster has too few CPUs.
    """
    resources = ray.cluster_resources() if ray.is_initialized() else {}
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if gpus:
        return Workers(min(wanted, gpus), "gpu")
    if cpus < wanted:
        raise TrainingError(
            object=f"recipe {recipe_name}",
            observed=f"a cluster with {cpus} CPUs" if resources else "this process is connected to no Ray cluster",
            expected=f"{wanted} CPUs, one per worker",
            next_step="connect to a larger cluster, or lower the recipe's num_workers",
        )
    return Workers(wanted, "cpu")


def run_workers(
    loop: Callable[[dict[str, Any]], None],
    config: Mapping[str, Any],
    *,
    run_name: str,
    storage_path: str,
    workers: Workers,
    max_failures: int,
    callbacks: Sequence[UserCallback],
) -> Checkpoint:
    """Runs `loop(config)` in every worker, restarts it after a failure, and returns the last checkpoint.

    Args:
        loop: The training loop; it reports checkpoints to Ray Train and resumes from the last one.
        config: What each worker gets; it is pickled.
        run_name: The name of the run's folder in the storage.
        storage_path: Absolute path or URI that all nodes reach.
        workers: As `workers_for` returns them.
        max_failures: How many worker failures the run survives.
        callbacks: Ray Train calls them in its controller, another process.

    Raises:
        TrainingError: if more workers failed, or the run reported no checkpoint.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", LOOK_SECONDS)
    trainer = TorchTrainer(
        loop,
        train_loop_config=dict(config),
        scaling_config=ScalingConfig(num_workers=workers.number, use_gpu=workers.accelerator == "gpu"),
        run_config=RunConfig(
            name=run_name,
            storage_path=storage_path,
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
            callbacks=[*callbacks],
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        result = trainer.fit()
    except TrainingFailedError as error:
        raise TrainingError(
            object=f"training run {run_name}",
            observed=str(error).strip(),
            expected=f"at most {max_failures} worker failures",
            next_step='remove the cause, then call train with resume="always": it continues after the last checkpoint',
        ) from error
    if result.checkpoint is None:
        raise TrainingError(
            object=f"training run {run_name}",
            observed="it ended without a checkpoint",
            expected="one after the last epoch",
            next_step="read the logs of the run's workers",
        )
    return result.checkpoint
