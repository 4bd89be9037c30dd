"""What a run used: processor time, peak memory and bytes, measured while it runs."""

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
    """What one run used. Memory is the peak resident set of this process and its children, in bytes.

    `watched` are processes that work for the run and are no children of it, such as a Ray head on this machine.
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
    watched: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Meter:
    """Measures this process and its children while a run is on."""

    usage: Usage
    _stop: threading.Event = field(default_factory=threading.Event)
    _cpu_by_pid: dict[int, tuple[float, float]] = field(default_factory=dict)

    def _sample(self) -> None:
        import psutil

        resident = 0
        seen: set[int] = set()
        for root in (os.getpid(), *self.usage.watched):
            with contextlib.suppress(psutil.Error):
                for process in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
                    if process.pid not in seen:
                        seen.add(process.pid)
                        with contextlib.suppress(psutil.Error):
                            resident += self._one(process)
        self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, resident)

    def _one(self, process: psutil.Process) -> int:
        with process.oneshot():
            times, memory, born = process.cpu_times(), process.memory_info(), process.create_time()
        cpu = times.user + times.system
        # A process that was there before counts from its first sample on; one born within the run counts whole.
        base = 0.0 if born >= self.usage.started_at.timestamp() else cpu
        first, _ = self._cpu_by_pid.get(process.pid, (base, cpu))
        self._cpu_by_pid[process.pid] = (first, cpu)
        return memory.rss - getattr(memory, "shared", 0)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()


@contextlib.contextmanager
def metering() -> Iterator[Usage]:
    """Fills in a `Usage` while the block runs, also when it raises."""
    usage = Usage(started_at=datetime.now(UTC))
    meter = Meter(usage)
    begun = time.perf_counter()
    meter._sample()
    sampler = threading.Thread(target=meter._run, name="meter", daemon=True)
    sampler.start()
    try:
        yield usage
    finally:
        meter._stop.set()
        sampler.join()
        meter._sample()
        usage.seconds = time.perf_counter() - begun
        usage.ended_at = datetime.now(UTC)
        usage.cpu_seconds += sum(last - first for first, last in meter._cpu_by_pid.values())
