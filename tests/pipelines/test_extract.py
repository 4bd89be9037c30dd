"""A snapshot of a database table is one consistent state of it, as deterministic JSON lines."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.errors import NotFoundError
from pipelines.extract import snapshot


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "operations.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = '"gate no" TEXT, pier INTEGER, length REAL, PRIMARY KEY (pier, "gate no")'
        connection.execute(f"CREATE TABLE stands ({columns})")
        rows = [("B", 2, 30.5), ("A", 2, None), ("Zürich", 1, 28.0)]
        connection.executemany("INSERT INTO stands VALUES (?, ?, ?)", rows)
    return path


def test_rows_come_typed_and_in_the_order_of_the_key(database: Path) -> None:
    assert snapshot(database, "stands").decode().splitlines() == [
        '{"gate no": "Zürich", "pier": 1, "length": 28.0}',
        '{"gate no": "A", "pier": 2, "length": null}',
        '{"gate no": "B", "pier": 2, "length": 30.5}',
    ]


def test_a_write_that_is_not_committed_is_not_seen(database: Path) -> None:
    before = snapshot(database, "stands")
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("DELETE FROM stands")
        assert snapshot(database, "stands") == before
        writer.commit()
    assert snapshot(database, "stands") == b""


@pytest.mark.parametrize(("name", "table"), [("operations.db", "gates"), ("other.db", "stands")])
def test_what_is_not_there_is_named(database: Path, name: str, table: str) -> None:
    with pytest.raises(NotFoundError, match=name.replace(".", r"\.")):
        snapshot(database.with_name(name), table)
    assert not database.with_name("other.db").exists()
