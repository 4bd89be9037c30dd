"""What a demo did, kept for its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.cost.metering import Usage


@dataclass(slots=True)
class Story:
    """What the demo did, for its report."""

    through: date
    stages: list[dict[str, Any]] = field(default_factory=list)
    runs: list[tuple[str, Any]] = field(default_factory=list)
    arrivals: list[Any] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage | None = None
