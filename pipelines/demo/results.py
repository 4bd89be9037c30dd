"""The results of a demo, collected while it runs, for its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.cost.metering import Usage


@dataclass(slots=True)
class DemoResults:
    """The results of a demo so far.

    Attributes:
        through: The last day that landed before the replayed week.
        stages: `name` and `seconds` of each stage that has ended.
        runs: Job name and result of each Dagster run.
        arrivals: `files`, `rows` and `bytes` of each call that landed files.
        answers: The service's answer for each flight of the replayed week.
        usage: The processor time and memory of the demo; None until it is measured.
    """

    through: date
    stages: list[dict[str, Any]] = field(default_factory=list)
    runs: list[tuple[str, Any]] = field(default_factory=list)
    arrivals: list[Any] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage | None = None
