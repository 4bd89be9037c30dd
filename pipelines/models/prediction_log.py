"""The prediction log: what the services answered, one JSON line for each answer, one folder for each
service, one file for each day.

`serving.predict.log` writes it. A day is one of the platform's clock, UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.machine import json_lines
from pipelines.settings import Settings


def folder(settings: Settings, service: str) -> Path:
    """The folder of the files `YYYY-MM-DD.jsonl` of one service, `domain.name`."""
    return settings.root / "serving" / "predictions" / service


def folders(settings: Settings) -> list[Path]:
    """The folders of all services that have answered."""
    return sorted(path for path in (settings.root / "serving" / "predictions").glob("*") if path.is_dir())


def read(folder: Path, first: date = date.min, last: date = date.max) -> Iterator[dict[str, Any]]:
    """The logged predictions of the days from `first` to `last`, both included, oldest day first.

    A torn line is left out: its writer was killed or failed while it wrote the line, so nobody got that answer.
    """
    for path in sorted(folder.glob("*.jsonl")):
        if first.isoformat() <= path.stem <= last.isoformat():
            yield from json_lines.read(path, is_prediction)


def is_prediction(record: dict[str, Any]) -> bool:
    """Whether a line of the log is a prediction with what its readers look at."""
    return isinstance(record["prediction_id"], str)


def damaged(folder: Path) -> dict[Path, list[int]]:
    """The numbers of the lines that are no predictions, by file; files without such lines are left out."""
    lines = {path: json_lines.damaged(path, is_prediction) for path in sorted(folder.glob("*.jsonl"))}
    return {path: numbers for path, numbers in lines.items() if numbers}
