"""The results of a demo, collected while it runs, for its report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from pipelines.cost.metering import Usage
from pipelines.landing.made_files import Landed


@dataclass(slots=True)
class DemoResults:
    """The results of a demo so far.

    Attributes:
        stages: `name`, `what` it does, and `seconds` of each stage that has ended.
        runs: Job name and result of each Dagster run.
        landed: What each call landed, with the name of its domain.
        answers: The service's answer to each question of the replay.
        rollouts: The figures of each rollout.
        usage: The processor time and memory of the demo; None until it is measured.
    """

    stages: list[dict[str, Any]] = field(default_factory=list)
    runs: list[tuple[str, Any]] = field(default_factory=list)
    landed: list[tuple[str, Landed]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage | None = None

    @contextmanager
    def stage(self, console: Console, name: str, what: str) -> Iterator[None]:
        """Prints what a stage does and its duration, and records both."""
        console.print(f"\n[bold]{name}[/]  [dim]{what}[/]")
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.stages.append({"name": name, "what": what, "seconds": round(seconds, 2)})
        console.print(f"  [green]{seconds:.1f} s[/]")
