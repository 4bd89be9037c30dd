"""The run configurations of the demo's two trainings: the recipes' windows, or others where other days land."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from pipelines.orchestration.demo_story import Demo
from pipelines.orchestration.jobs import fine_tuning


def first(demo: Demo, start: date, through: date) -> dict[str, Any]:
    """The configuration of the first model's run, of which the gate uses the last tenth of the days.

    Empty for the demo's own days, which are those of the recipe's windows.
    """
    if _own(demo, start, through):
        return {}
    gate_start = through - timedelta(days=_gate_days(demo, start, through) - 1)
    return _config(demo, "FROM_SCRATCH", start, demo.local(gate_start, 0), through)


def fine_tune(demo: Demo, start: date, through: date) -> dict[str, Any]:
    """The configuration of fine-tuning, which trains on the first half of the last tenth of the days.

    That of the domain's job for the demo's own days; empty for a model that is not fine-tuned.
    """
    if "fine_tune" not in demo.model.recipes:
        return {}
    if _own(demo, start, through):
        from pipelines.definitions import domains

        return fine_tuning(domains()[demo.domain.name])
    begin = through - timedelta(days=_gate_days(demo, start, through) - 1)
    first_instant, end = demo.local(begin, 0), _end(demo, through)
    return _config(demo, "FINE_TUNE", begin, first_instant + (end - first_instant) / 2, through)


def _own(demo: Demo, start: date, through: date) -> bool:
    return (start, through) == (demo.days.first, demo.days.through)


def _gate_days(demo: Demo, start: date, through: date) -> int:
    return max(((through - start).days + 1) // 10, demo.days.minimum_gate)


def _end(demo: Demo, through: date) -> datetime:
    return demo.local(through + timedelta(days=1), 0)


def _config(demo: Demo, mode: str, start: date, gate_start: datetime, through: date) -> dict[str, Any]:
    """The configuration for training on the days from `start` to `gate_start`, and the gate from then to the end."""
    config = {
        "mode": mode,
        "train_start": demo.local(start, 0).isoformat(),
        "train_end": gate_start.isoformat(),
        "gate_end": _end(demo, through).isoformat(),
    }
    return {"ops": {"__".join(demo.model.key("training")): {"config": config}}}
