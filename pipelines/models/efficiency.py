"""What a training took in time, energy and money: in all, for an epoch, a million rows, and until a named quality."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipelines.cost.prices import PriceSheet
from pipelines.models.program import Epoch, TrainedRun


def cost(epoch: Epoch, prices: PriceSheet, *, workers: int, accelerator: str) -> float:
    """The cost of an epoch: its processor time, and the GPUs that its workers held, in the currency of the prices."""
    amount = epoch.cpu_seconds / 3600 * prices.unit_prices["cpu_core_hour"]
    if accelerator != "cpu":
        amount += epoch.seconds * workers / 3600 * prices.gpu_hour.get(accelerator, prices.gpu_hour["default"])
    return amount


def figures(run: TrainedRun, prices: PriceSheet, *, quality_target: float | None) -> dict[str, float]:
    """What a training's epochs took, by name; what nothing measured, and a quality that was not reached, is absent.

    Args:
        run: The finished run.
        prices: For its cost, in their currency.
        quality_target: The held-out loss until which the time is taken; None where none is named.

    Returns:
        `training_` with: `seconds`, wall clock; `cpu_seconds`; `gpu_seconds`, in which GPUs were held;
        `gpu_busy_seconds`, in which they computed, and `gpu_joules`, both by NVML; `cost`, `cost_per_epoch`,
        `cost_per_million_rows` or `_tokens`; `seconds_to_quality`, from the first epoch's start.
    """
    history = run.history
    total = sum(cost(epoch, prices, workers=run.workers, accelerator=run.accelerator) for epoch in history)
    seconds, amount = sum(epoch.seconds for epoch in history), sum(epoch.amount for epoch in history)
    found = {
        "seconds": seconds,
        "cpu_seconds": sum(epoch.cpu_seconds for epoch in history),
        "gpu_seconds": 0.0 if run.accelerator == "cpu" else seconds * run.workers,
        "gpu_busy_seconds": _sum(history, lambda epoch: epoch.gpu_busy_seconds),
        "gpu_joules": _sum(history, lambda epoch: epoch.gpu_joules),
        "cost": total,
        "cost_per_epoch": total / len(history) if history else None,
        f"cost_per_million_{run.unit}": total / amount * 1e6 if amount else None,
        "seconds_to_quality": _seconds_to(history, quality_target),
    }
    return {f"training_{name}": value for name, value in found.items() if value is not None}


def _sum(history: tuple[Epoch, ...], figure: Callable[[Epoch], float | None]) -> float | None:
    """None if an epoch lacks the figure: the sum of the others would be read as that of all."""
    values = [figure(epoch) for epoch in history]
    measured = [value for value in values if value is not None]
    return math.fsum(measured) if values and len(measured) == len(values) else None


def _seconds_to(history: tuple[Epoch, ...], quality_target: float | None) -> float | None:
    if quality_target is None:
        return None
    for place, epoch in enumerate(history):
        if epoch.validation_loss <= quality_target:
            return sum(each.seconds for each in history[: place + 1])
    return None
