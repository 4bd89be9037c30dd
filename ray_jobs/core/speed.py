"""How fast a run is: what its progress says of the rows or tokens a second, and of the time that is left."""

from __future__ import annotations

import time

from ray_jobs.core.progress import ENTRY_SECONDS


class Speed:
    """Steps and amounts since the loop began."""

    def __init__(self, steps: int) -> None:
        self.first_step, self.amount = steps, 0.0
        self.started = self.entered = time.monotonic()

    def entry_due(self) -> bool:
        """Whether the last entry is old enough; if so, there is a new one from now on."""
        now = time.monotonic()
        due = now - self.entered >= ENTRY_SECONDS
        self.entered = now if due else self.entered
        return due

    def measured(self, done: int, steps: int) -> tuple[float, float]:
        """Amount a second, and the seconds that the steps after `done` of `steps` will take."""
        seconds = time.monotonic() - self.started
        return self.amount / seconds, seconds / (done - self.first_step) * (steps - done)
