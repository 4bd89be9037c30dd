"""How a run is spread over processes and made to fit: each a field, any of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["ddp", "fsdp"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What changes the speed and memory of a run, and not what is learned beyond rounding.

    Attributes:
        strategy: "ddp" keeps all weights in every worker; "fsdp" shards weights, gradients and optimizer (FSDP2).
        precision: Of the network's arithmetic; weights and optimizer keep single precision. "bf16" needs a processor
            or GPU that has it.
        accumulate: Batches whose gradients are added up before a step; a step's rows are divided by it.
        activation_checkpointing: Whether blocks compute their activations again in the backward pass.
        compile: Whether torch.compile compiles the network.
        elastic_from: The smallest number of workers that the run goes on with when nodes leave; None for exactly
            `num_workers`.
    """

    strategy: Strategy = "ddp"
    precision: Precision = "fp32"
    accumulate: int = 1
    activation_checkpointing: bool = False
    compile: bool = False
    elastic_from: int | None = None
