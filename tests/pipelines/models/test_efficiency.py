"""What a training took: for an epoch, a million rows or tokens, until a named quality; nothing that was not measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from pipelines.cost.prices import PriceSheet
from pipelines.models import efficiency
from pipelines.models.program import Epoch

PRICES = PriceSheet("EUR", "2026-01-01", {"cpu_core_hour": 0.036}, {"default": 1.0, "NVIDIA H200": 3.6})
EPOCHS = (
    Epoch(1, 0.9, 0.8, 100.0, 250_000, 150.0),
    Epoch(2, 0.6, 0.5, 100.0, 250_000, 150.0),
    Epoch(3, 0.5, 0.4, 100.0, 250_000, 150.0),
    Epoch(4, 0.4, 0.6, 100.0, 250_000, 150.0),
)


@dataclass(frozen=True)
class Run:
    """A run of two workers."""

    history: tuple[Epoch, ...] = EPOCHS
    unit: Literal["rows", "tokens"] = "rows"
    rows: int = 250_000
    workers: int = 2
    accelerator: str = "cpu"
    seconds: float = 450.0


def test_a_training_on_cpus_costs_its_processor_time_and_has_no_figure_of_a_gpu() -> None:
    found = efficiency.figures(Run(), PRICES, quality_target=None)
    assert found == pytest.approx(
        {
            "training_seconds": 400, "training_cpu_seconds": 600, "training_gpu_seconds": 0, "training_cost": 0.006,
            "training_cost_per_epoch": 0.0015, "training_cost_per_million_rows": 0.006,
        }
    )  # fmt: skip


def test_a_training_on_gpus_costs_those_that_its_workers_held_and_tells_what_nvml_measured() -> None:
    epochs = tuple(replace(epoch, gpu_busy_seconds=80.0, gpu_joules=50_000.0) for epoch in EPOCHS)
    run = Run(epochs, unit="tokens", accelerator="NVIDIA H200")
    found = efficiency.figures(run, PRICES, quality_target=None)
    assert found["training_gpu_seconds"] == 800
    assert (found["training_gpu_busy_seconds"], found["training_gpu_joules"]) == (320, 200_000)
    assert found["training_cost"] == pytest.approx(0.006 + 0.8)
    assert found["training_cost_per_million_tokens"] == pytest.approx(0.806)
    another = efficiency.figures(replace(run, accelerator="another"), PRICES, quality_target=None)
    assert another["training_cost"] == pytest.approx(0.006 + 800 / 3600)


def test_a_figure_that_one_epoch_lacks_is_absent() -> None:
    epochs = (*EPOCHS[:3], replace(EPOCHS[3], gpu_joules=1.0))
    found = efficiency.figures(Run(epochs, accelerator="NVIDIA H200"), PRICES, quality_target=None)
    assert "training_gpu_joules" not in found


@pytest.mark.parametrize(("target", "seconds"), [(0.8, 100), (0.5, 200), (0.45, 300), (0.1, None)])
def test_the_time_to_a_quality_ends_with_the_first_epoch_that_has_it(target: float, seconds: float | None) -> None:
    found = efficiency.figures(Run(), PRICES, quality_target=target)
    assert found.get("training_seconds_to_quality") == seconds
