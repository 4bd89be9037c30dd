"""A function in several processes of this machine that form a process group, as a training run's workers do.

Where there are GPUs, a process has one of its own and the group is NCCL's, as in Ray Train. More processes than GPUs
share them, and the group is Gloo's, since NCCL refuses two processes on one GPU.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Forks from a process that has imported PyTorch already, and holds neither threads nor a Ray connection.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["torch.distributed.checkpoint", "torch.distributed.fsdp", "tests.ray_jobs.process_group"]
)


def device(rank: int = 0) -> torch.device:
    """The GPU of a process; the CPU on a machine without GPUs."""
    import torch

    return torch.device("cuda", rank % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")


def run(function: Callable[..., Any], *arguments: Any, workers: int) -> list[Any]:
    """Calls `function(rank, *arguments)` in each worker; returns their results by rank, None of a killed worker.

    Raises:
        AssertionError: with the traceback, if a worker raised an error.
    """
    results = _CONTEXT.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            _CONTEXT.Process(target=_work, args=(rank, workers, f"file://{folder}/store", function, arguments, results))
            for rank in range(workers)
        ]
        for process in processes:
            process.start()
        by_rank: dict[int, Any] = {}
        while len(by_rank) < workers:
            if not results.empty() or any(process.is_alive() for process in processes):
                rank, result, error = results.get(timeout=120)
                assert error is None, error
                by_rank[rank] = result
            else:
                break
        for process in processes:
            process.join(60)
    return [by_rank.get(rank) for rank in range(workers)]


def _work(rank: int, workers: int, store: str, function: Callable[..., Any], arguments: Any, results: Any) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(device(rank))
        backend = "nccl" if workers <= torch.cuda.device_count() else "gloo"
    dist.init_process_group(backend, init_method=store, rank=rank, world_size=workers)
    try:
        results.put((rank, function(rank, *arguments), None))
    except BaseException:  # noqa: BLE001 - the test's process raises it
        results.put((rank, None, traceback.format_exc()))
    finally:
        dist.destroy_process_group()
