"""A network over several processes, and made to fit, as a `Scale` says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from pipelines.models.program import RecipeError
from ray_jobs.core.recipe import TrainingRecipe


def has_bf16(device: torch.device) -> bool:
    """Whether the processor or GPU computes with bf16 itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def require(recipe: TrainingRecipe, *, workers: int, bf16: bool) -> None:
    """Raises RecipeError for a scale that this run cannot have.

    Args:
        recipe: The configuration of the run.
        workers: Training processes of the run.
        bf16: Whether their devices have it.
    """
    scale = recipe.scale
    parts = workers * scale.accumulate
    problems = {
        "scale.precision": (scale.precision == "bf16" and not bf16, "devices without it", "fp32"),
        "scale.strategy": (
            scale.strategy == "fsdp" and not dist.is_initialized(),
            "one process without a group",
            "ddp, or 2 workers or more",
        ),
        "batch_size": (
            recipe.batch_size < parts,
            f"{recipe.batch_size} rows for {workers} workers that accumulate {scale.accumulate} batches",
            f"{parts} or more",
        ),
    }
    for name, (wrong, observed, expected) in problems.items():
        if wrong:
            raise RecipeError(
                object=f"recipe of {recipe.model_name}: {name}",
                observed=observed,
                expected=expected,
                next_step="correct it in the recipe, or train on other machines",
            )


def blocks(network: nn.Module) -> Sequence[nn.Module]:
    """The parts that a network repeats, which memory is saved by: the outermost items of its lists of modules.

    A list of leaf modules, such as embeddings, is no such part; a network without one is a part as a whole.
    """

    def below(module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            if isinstance(child, nn.ModuleList) and all(next(item.children(), None) is not None for item in child):
                yield from child
            else:
                yield from below(child)

    return list(below(network)) or [network]


def spread(network: nn.Module, recipe: TrainingRecipe, device: torch.device) -> nn.Module:
    """The network as the training steps call it; its own parameters are those that are trained.

    Args:
        network: On the device. Its modules are changed in place.
        recipe: Whose scale is applied.
        device: The worker's.
    """
    scale, parts = recipe.scale, blocks(network)
    for part in parts:
        if scale.activation_checkpointing:
            part.forward = partial(checkpoint, part.forward, use_reentrant=False)
        if scale.compile:
            part.compile()
    if scale.strategy == "fsdp":
        half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        policy = half if scale.precision == "bf16" else MixedPrecisionPolicy()
        for part in parts:
            fully_shard(part, mp_policy=policy)
        if parts[0] is not network:
            fully_shard(network, mp_policy=policy)
        return network
    if dist.is_initialized() and dist.get_world_size() > 1:
        places = [device] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=places, gradient_as_bucket_view=True)
    return network


@contextlib.contextmanager
def adding_up(network: nn.Module, *, last: bool) -> Iterator[None]:
    """Within the block, gradients stay in their worker, except those of the last batch of a step."""
    if isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(last)
    alone = isinstance(network, DistributedDataParallel) and not last
    with network.no_sync() if alone else contextlib.nullcontext():
        yield


def arithmetic(recipe: TrainingRecipe, device: torch.device) -> torch.autocast:
    """A block in which the network computes with the recipe's precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.scale.precision == "bf16")


def multiply_gradients(parameters: Iterable[nn.Parameter], factor: Tensor) -> None:
    """Multiplies all gradients by a number on the same device, without waiting for it."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    own = [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]
    torch._foreach_mul_(own, factor.to(torch.float32))
