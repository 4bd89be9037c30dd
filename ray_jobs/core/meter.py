"""What a worker's process and its GPU do while it trains, measured by the operating system and by NVML."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

import pynvml
import torch

#: How often a GPU is asked whether it computes; NVML's own answer is of the last sixth of a second to a second.
SAMPLE_SECONDS = 0.25


@dataclass(slots=True)
class Use:
    """What was used.

    Attributes:
        cpu_seconds: Processor time of the training processes, user and system, of all their threads.
        gpu_busy_seconds: Time in which the GPUs computed; NaN where nothing measures it.
        gpu_joules: Energy that the GPUs took; NaN where nothing measures it.
    """

    cpu_seconds: float = 0.0
    gpu_busy_seconds: float = 0.0
    gpu_joules: float = 0.0


class Meter:
    """Measures this process and one GPU from the start of a `with` block on.

    What NVML does not tell, such as of a part of a GPU (MIG), on a machine without its library, or of a CPU, is NaN.
    """

    def __init__(self, device: torch.device) -> None:
        self._gpu = _Gpu.of(device)
        self._former = Use()

    def __enter__(self) -> Self:
        self._gpu.start()
        self._former = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self._gpu.stop()

    def read(self) -> Use:
        """What was used since the block began, or since the last reading."""
        former, self._former = self._former, self._now()
        now = self._former
        return Use(
            now.cpu_seconds - former.cpu_seconds,
            now.gpu_busy_seconds - former.gpu_busy_seconds,
            now.gpu_joules - former.gpu_joules,
        )

    def _now(self) -> Use:
        return Use(time.process_time(), self._gpu.busy_seconds, self._gpu.joules())


class _Gpu:
    """A GPU as NVML knows it; `handle` is None where NVML does not know it."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._stopped = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="gpu meter", daemon=True)
        self.busy_seconds = math.nan

    @classmethod
    def of(cls, device: torch.device) -> Self:
        if device.type != "cuda":
            return cls(None)
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            # Torch counts the visible GPUs alone: they have the same name in both, not the same number.
            return cls(pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}"))
        return cls(None)

    def start(self) -> None:
        if self._handle is None:
            return
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlDeviceGetUtilizationRates(self._handle)
            self.busy_seconds = 0.0
            self._sampler.start()

    def stop(self) -> None:
        self._stopped.set()

    def joules(self) -> float:
        """The energy that the GPU took since its driver was loaded."""
        if self._handle is None:
            return math.nan
        try:
            return pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000
        except pynvml.NVMLError:
            return math.nan

    def _sample(self) -> None:
        last = time.monotonic()
        while not self._stopped.wait(SAMPLE_SECONDS):
            try:
                busy = pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100
            except pynvml.NVMLError:
                self.busy_seconds = math.nan  # a part that was missed would be read as idle
                return
            now = time.monotonic()
            self.busy_seconds, last = self.busy_seconds + busy * (now - last), now
