"""The damaged lines of what runs and services log: readers skip them, and people are told where they are."""

from __future__ import annotations

from pipelines.lineage.events import LineageLog
from pipelines.models import prediction_log
from pipelines.settings import Settings


def skipped_lines(settings: Settings) -> list[str]:
    """The lines of the lineage and prediction logs that are no records: one text for each file of the home folder."""
    lineage = LineageLog(settings)
    by_file = {
        lineage.path: lineage.damaged(),
        **{
            path: numbers
            for log in prediction_log.folders(settings)
            for path, numbers in prediction_log.damaged(log).items()
        },
    }
    return [
        f"{path.relative_to(settings.root)} line {', '.join(map(str, numbers[:5]))}{' …' if len(numbers) > 5 else ''}"
        for path, numbers in by_file.items()
        if numbers
    ]
