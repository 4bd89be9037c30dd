"""The sources deliver the content of their files by day, byte for byte, each file once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from assets.flights.deliveries import land, source_file
from pipelines.errors import LandingError
from pipelines.landing.made_files import Landed
from pipelines.landing.zone import Landing

DAY = date(2013, 11, 3)


def delivered(landing: Landing, source: str) -> dict[str, bytes]:
    """The content of each landed file of a source, by URI."""
    contents = {}
    for delivery in landing.deliveries("flights", source):
        with landing.open(delivery) as stream:
            contents[delivery.uri] = stream.read()
    return contents


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "operations.db"


def test_flights_land_as_the_lines_of_the_source_file_by_day(landing: Landing, database: Path) -> None:
    land(landing, start=DAY, end=date(2013, 11, 4), database=database)
    files = delivered(landing, "flights")
    assert list(files) == [
        "flights/flights/dt=2013-11-03/flights_20131103.csv",
        "flights/flights/dt=2013-11-04/flights_20131104.csv",
    ]
    header, *lines = source_file("flights.csv.zip").splitlines(keepends=True)
    for content, day in zip(files.values(), (b"2013,11,3,", b"2013,11,4,"), strict=True):
        assert content == header + b"".join(line for line in lines if line.startswith(day))


def test_the_operations_database_is_created_with_typed_columns(landing: Landing, database: Path) -> None:
    land(landing, start=DAY, end=DAY, database=database)
    with closing(sqlite3.connect(database)) as connection:
        planes = connection.execute("SELECT count(*), count(year), count(speed) FROM planes").fetchone()
        airports = connection.execute("SELECT count(*), count(tzone) FROM airports").fetchone()
        types = connection.execute("SELECT DISTINCT typeof(lat), typeof(tz), typeof(faa) FROM airports").fetchall()
    assert (planes, airports) == ((3322, 3252, 23), (1458, 1455))
    assert types == [("real", "integer", "text")]


def test_landing_the_same_day_again_changes_nothing(landing: Landing, database: Path) -> None:
    first = land(landing, start=DAY, end=DAY, database=database)
    assert first == Landed(files=4, rows=902 + 3322 + 1458 + 16, bytes=first.bytes)
    before = {path: path.stat().st_mtime_ns for path in Path(landing.root).rglob("*")}
    assert land(landing, start=DAY, end=DAY, database=database) == Landed(0, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in Path(landing.root).rglob("*")} == before


def test_an_unchanged_list_does_not_land_for_the_next_day(landing: Landing, database: Path) -> None:
    land(landing, start=DAY, end=DAY, database=database)
    next_day = land(landing, start=date(2013, 11, 4), end=date(2013, 11, 4), database=database)
    assert next_day.files == 1
    assert list(delivered(landing, "planes")) == ["flights/planes/dt=2013-11-03/planes_20131103.jsonl"]


def test_a_changed_aircraft_register_lands_as_the_snapshot_of_its_day(landing: Landing, database: Path) -> None:
    land(landing, start=DAY, end=DAY, database=database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO planes (tailnum, model) VALUES ('N0EGMQ', 'EMB-145LR')")
    assert land(landing, start=date(2013, 11, 4), end=date(2013, 11, 4), database=database).files == 2
    before, after = delivered(landing, "planes").values()
    [added] = set(after.splitlines()) - set(before.splitlines())
    assert (json.loads(added)["tailnum"], json.loads(added)["year"]) == ("N0EGMQ", None)


def test_a_second_different_snapshot_of_one_day_is_refused(landing: Landing, database: Path) -> None:
    land(landing, start=DAY, end=DAY, database=database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM airports WHERE faa = 'EEN'")
    with pytest.raises(LandingError, match="another file of this name has landed"):
        land(landing, start=DAY, end=DAY, database=database)


def test_landed_bytes_are_the_same_in_any_folder(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        land(Landing(root / "landing"), start=DAY, end=DAY, database=root / "operations.db")
    first, second = ({p.relative_to(root): p.read_bytes() for p in root.rglob("*_2013*")} for root in roots)
    assert first == second
    assert len(first) == 4
