"""Measures what a run uses while it runs: processor time, peak memory and duration."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

SAMPLE_SECONDS = 0.2


@dataclass(slots=True)
class Usage:
    """What one run used.

    Attributes:
        started_at: UTC.
        ended_at: UTC; None while the run is on.
        seconds: Duration.
        cpu_seconds: Processor time of this process, its children and the watched processes, user and system.
        gpu_seconds: GPU time, as the run's work reports it.
        accelerator: Name of the GPU, as in the price sheet.
        peak_memory_bytes: Highest sum of the unshared resident memory of these processes.
        bytes_read: Bytes of the inputs that the run reports.
        bytes_written: Bytes of the outputs that the run reports.
        unmetered: What else worked for the run and cannot be measured from here, such as a remote cluster's machines;
            its cost is unknown, and is said to be.
        watched: Ids of processes that work for the run but are not its children, such as a Ray head on this machine.
    """

    started_at: datetime
    ended_at: datetime | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    accelerator: str | None = None
    peak_memory_bytes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    unmetered: set[str] = field(default_factory=set)
    watched: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Meter:
    """Samples this process, its children and the watched processes in a thread."""

    usage: Usage
    _stopped: threading.Event = field(default_factory=threading.Event)
    #: Process id to its processor seconds before the run, and at the latest sample.
    _cpu_seconds: dict[int, tuple[float, float]] = field(default_factory=dict)

    def run(self) -> None:
        """Samples until `stop` is called."""
        while not self._stopped.wait(SAMPLE_SECONDS):
            self.sample()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def cpu_seconds(self) -> float:
        """The processor time of all processes that a sample saw, also of those that have ended."""
        return sum(latest - before for before, latest in self._cpu_seconds.values())

    def sample(self) -> None:
        import psutil

        memory_bytes = 0
        sampled: set[int] = set()
        for root in (os.getpid(), *self.usage.watched):
            with contextlib.suppress(psutil.Error):
                for process in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
                    if process.pid not in sampled:
                        sampled.add(process.pid)
                        with contextlib.suppress(psutil.Error):
                            memory_bytes += self._sample_process(process)
        self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, memory_bytes)

    def _sample_process(self, process: psutil.Process) -> int:
        """Notes the processor time of one process, and returns its unshared resident memory in bytes."""
        with process.oneshot():
            times, memory, created = process.cpu_times(), process.memory_info(), process.create_time()
        cpu = times.user + times.system
        # Of a process that is older than the run, only the time after its first sample belongs to the run.
        before = 0.0 if created >= self.usage.started_at.timestamp() else cpu
        before, _ = self._cpu_seconds.get(process.pid, (before, cpu))
        self._cpu_seconds[process.pid] = (before, cpu)
        return memory.rss - getattr(memory, "shared", 0)


@contextlib.contextmanager
def metering() -> Iterator[Usage]:
    """Measures the block, also when it raises; the `Usage` that it yields is complete when the block has ended."""
    usage = Usage(started_at=datetime.now(UTC))
    meter = _Meter(usage)
    started = time.perf_counter()
    meter.sample()
    sampler = threading.Thread(target=meter.run, name="meter", daemon=True)
    sampler.start()
    try:
        yield usage
    finally:
        meter.stop()
        sampler.join()
        meter.sample()
        usage.seconds = time.perf_counter() - started
        usage.ended_at = datetime.now(UTC)
        usage.cpu_seconds += meter.cpu_seconds
