"""Tables of databases: a snapshot has one state, increments lose nothing and land nothing twice."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from pipelines.errors import LandingError, NotFoundError, SettingsError, TransientError
from pipelines.retrying import Backoff
from pipelines.sources.base import Source
from pipelines.sources.sql import SqlCursor, SqlSnapshot
from tests.pipelines.sources.landed import NOW, Landed, ids
from tests.servers import postgres
from tests.servers.postgres import Postgres

QUICK = Backoff(attempts=2, first_seconds=0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres.running() as running:
        yield running


@dataclass(frozen=True, slots=True)
class Database:
    """A database with an empty table `orders(id, amount, updated_at)`."""

    address: str
    execute: Callable[..., None]

    def add(self, *rows: tuple[int, str, str]) -> None:
        values = ", ".join(f"({id}, {amount}, '{at}')" for id, amount, at in rows)
        self.execute(f"INSERT INTO orders VALUES {values}")


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("server")
        database = Database(server.address, server.execute)
        kind = "timestamptz"
    else:
        path = tmp_path / "shop.db"
        database = Database(f"sqlite:///{path}", lambda *statements: run(path, *statements))
        kind = "text"
    database.execute(
        "DROP TABLE IF EXISTS orders",
        f"CREATE TABLE orders (id integer PRIMARY KEY, amount numeric(10, 2), updated_at {kind} NOT NULL)",
    )
    return database


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def landed(database: Database) -> Landed:
    return Landed(database.address)


SNAPSHOT = SqlSnapshot("shop", "orders", backoff=QUICK)
CURSOR = SqlCursor("shop", "orders", lateness=timedelta(minutes=5), backoff=QUICK)


def test_a_snapshot_is_the_table_in_the_order_of_its_key(database: Database, landed: Landed) -> None:
    database.add((2, "1.50", "2013-11-01 00:00:00"), (1, "20", "2013-11-01 00:00:01"))
    assert ids(landed.take(SNAPSHOT)) == [[1, 2]]
    assert (landed.names, landed.intervals) == (["orders.jsonl"], ["2013-11-01T040000.000000Z"])


def test_an_equal_snapshot_is_not_landed_again(database: Database, landed: Landed) -> None:
    database.add((1, "1.5", "2013-11-01 00:00:00"))
    landed.take(SNAPSHOT)
    assert landed.take(SNAPSHOT, now=NOW + timedelta(days=1)) == []


def test_the_newest_snapshot_shows_deletes_even_if_the_clock_stands_still(database: Database, landed: Landed) -> None:
    database.add((1, "1.5", "2013-11-01 00:00:00"), (2, "2.5", "2013-11-01 00:00:00"))
    landed.take(SNAPSHOT)
    database.execute("DELETE FROM orders WHERE id = 1")
    assert ids(landed.take(SNAPSHOT)) == [[2]]
    database.execute("DELETE FROM orders")
    assert landed.take(SNAPSHOT, now=NOW + timedelta(hours=1)) == [b""]
    assert landed.intervals == sorted(set(landed.intervals))


def test_a_table_without_a_key_gives_equal_bytes_for_equal_content(database: Database, landed: Landed) -> None:
    source = replace(SNAPSHOT, table="loose")
    database.execute("DROP TABLE IF EXISTS loose", "CREATE TABLE loose (a integer, b text)")
    database.execute("INSERT INTO loose VALUES (2, 'x'), (1, NULL), (1, 'y')")
    landed.take(source)
    database.execute("DELETE FROM loose", "INSERT INTO loose VALUES (1, 'y'), (2, 'x'), (1, NULL)")
    assert landed.take(source) == []


def test_an_increment_begins_where_the_last_one_ended(database: Database, landed: Landed) -> None:
    database.add((1, "1", "2013-11-01 00:00:00"), (2, "2", "2013-11-01 00:10:00"))
    assert ids(landed.take(CURSOR)) == [[1, 2]]
    assert landed.take(CURSOR) == []
    database.add((3, "3", "2013-11-01 00:20:00"))
    database.execute("UPDATE orders SET amount = 9, updated_at = '2013-11-01 00:30:00' WHERE id = 1")
    assert ids(landed.take(CURSOR)) == [[3, 1]]
    assert landed.intervals == ["2013-11-01", "2013-11-01"]


def test_rows_of_one_cursor_value_may_be_split_between_files_and_runs(database: Database, landed: Landed) -> None:
    source = replace(CURSOR, rows_per_file=2)
    database.add(*((id, "1", "2013-11-01 00:00:00") for id in range(1, 6)))
    assert ids(landed.take(source, stop_after=1)) == [[1, 2]]
    assert ids(landed.take(source, stop_after=1)) == [[3, 4]]
    assert ids(landed.take(source)) == [[5]]
    database.add((6, "1", "2013-11-01 00:00:00"))
    assert ids(landed.take(source)) == [[6]]
    assert landed.take(source) == []


def test_a_row_with_the_cursor_of_the_position_and_a_lower_key_is_not_lost(database: Database, landed: Landed) -> None:
    source = replace(CURSOR, lateness=timedelta(0))
    database.add((5, "1", "2013-11-01 00:00:00"))
    landed.take(source)
    database.add((2, "1", "2013-11-01 00:00:00"))
    assert ids(landed.take(source)) == [[2, 5]]
    assert landed.take(source) == []


def test_a_row_that_commits_late_lands_once_with_the_rows_within_the_lateness(
    database: Database, landed: Landed
) -> None:
    database.add((1, "1", "2013-11-01 00:00:00"), (2, "2", "2013-11-01 00:08:00"), (3, "3", "2013-11-01 00:10:00"))
    landed.take(CURSOR)
    database.add((4, "4", "2013-11-01 00:06:00"))
    assert ids(landed.take(CURSOR)) == [[4, 2, 3]]
    assert landed.take(CURSOR) == []
    database.add((5, "5", "2013-11-01 00:09:00"), (6, "6", "2013-11-01 00:11:00"))
    assert ids(landed.take(CURSOR)) == [[4, 2, 5, 3, 6]]
    assert landed.take(CURSOR) == []


def test_a_row_before_the_lateness_does_not_land(database: Database, landed: Landed) -> None:
    database.add((1, "1", "2013-11-01 00:10:00"))
    landed.take(CURSOR)
    database.add((2, "2", "2013-11-01 00:04:59"))
    assert landed.take(CURSOR) == []


def test_a_numeric_cursor_has_a_numeric_lateness(database: Database, landed: Landed) -> None:
    source = replace(CURSOR, cursor="id", lateness=2)
    database.add((1, "1", "2013-11-01 00:00:00"), (5, "5", "2013-11-01 00:00:00"))
    landed.take(source)
    database.add((2, "2", "2013-11-01 00:00:00"), (4, "4", "2013-11-01 00:00:00"))
    assert ids(landed.take(source)) == [[4, 5]]
    with pytest.raises(LandingError, match="cursor 'id' of source table orders: int 5, from which"):
        landed.take(replace(source, lateness=timedelta(minutes=5)))


def test_a_row_of_the_future_hides_no_later_row(database: Database, landed: Landed) -> None:
    database.add((1, "1", "2013-11-01 00:00:00"), (9, "9", "2099-01-01 00:00:00"))
    assert ids(landed.take(CURSOR)) == [[1], [9]]
    assert landed.position is not None
    assert (landed.position["ahead"]["rows"], landed.position["ahead"]["newest"][:4]) == (1, "2099")
    assert landed.take(CURSOR) == []
    database.add((2, "2", "2013-11-01 00:10:00"))
    assert ids(landed.take(CURSOR)) == [[2]]
    database.execute("UPDATE orders SET amount = 8 WHERE id = 9")
    assert ids(landed.take(CURSOR)) == [[9]]
    database.execute("UPDATE orders SET updated_at = '2013-11-01 00:20:00' WHERE id = 9")
    assert ids(landed.take(CURSOR)) == [[9]]
    assert landed.position["ahead"] is None
    assert landed.take(CURSOR) == []


def test_rows_of_the_future_alone_land_once(database: Database, landed: Landed) -> None:
    database.add((8, "8", "2098-01-01 00:00:00"), (9, "9", "9999-12-31 23:59:59"))
    assert ids(landed.take(CURSOR)) == [[8, 9]]
    assert landed.take(CURSOR) == []
    database.add((1, "1", "2013-11-01 00:00:00"))
    assert ids(landed.take(CURSOR)) == [[1]]


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        (["2013-11-01 00:00:00", "2013-11-01T00:00:00"], True),
        (["2013-11-01T00:00:00Z", "2013-11-01T00:00:00.5Z"], True),
        (["2013-11-01T00:00:00+01:00", "2013-11-01T00:00:00+02:00"], True),
        (["2013-11-01T00:00:00-0100", "2013-11-01T00:00:07-0200"], True),
        (["2013-11-01T00:00:00Z", "2013-11-01T00:00:00+00:00"], True),
        (["2013-11-01 00:00:00", "1383264000"], True),
        (["01/11/2013", "02/11/2013"], True),
        (["9", "10"], True),
        (["2013-11-01 00:00:00", "2013-11-01 00:00:00.25", "2013-11-02"], False),
        (["2013-11-01T00:00:00+0100", "2013-11-01T00:00:07+0100"], False),
        (["2013-11-01T00:00:00Z", "2013-12-01T00:00:00Z"], False),
        (["01ARZ3", "01BX5Z"], False),
        (["07", "10"], False),
    ],
)
@pytest.mark.parametrize("database", ["postgresql", "sqlite"], indirect=True)
def test_texts_are_a_cursor_only_if_their_order_is_that_of_time(
    database: Database, landed: Landed, values: list[str], refused: bool
) -> None:
    database.execute("DROP TABLE IF EXISTS texts", "CREATE TABLE texts (id integer PRIMARY KEY, at text NOT NULL)")
    rows = ", ".join(f"({place}, '{value}')" for place, value in enumerate(values))
    database.execute(f"INSERT INTO texts VALUES {rows}")
    source = SqlCursor("shop", "texts", cursor="at", lateness=timedelta(0), backoff=QUICK)
    if refused:
        with pytest.raises(LandingError, match="order is not that of time or size"):
            landed.take(source)
    else:
        [taken] = ids(landed.take(source))
        assert taken == list(range(len(values)))


def test_numbers_and_texts_in_one_column_are_no_cursor(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    run(
        path,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, at)",
        "INSERT INTO orders VALUES (1, 1383264000), (2, '2013')",
    )
    with pytest.raises(LandingError, match="order is not that of time or size"):
        Landed(f"sqlite:///{path}").take(replace(CURSOR, cursor="at", lateness=0))


def test_a_null_in_the_cursor_is_refused(database: Database, landed: Landed) -> None:
    source = replace(CURSOR, cursor="amount", lateness=0)
    database.add((1, "1", "2013-11-01 00:00:00"))
    assert ids(landed.take(source)) == [[1]]
    database.add((2, "NULL", "2013-11-01 00:00:00"))
    with pytest.raises(LandingError, match="NULL in 1 rows"):
        landed.take(source)


def test_an_increment_of_many_rows_lands_as_several_files_in_order(database: Database, landed: Landed) -> None:
    database.add(*((id, "1.5", f"2013-11-01 {id // 60:02d}:{id % 60:02d}:00") for id in range(1, 1001)))
    files = ids(landed.take(replace(CURSOR, rows_per_file=300)))
    assert [len(rows) for rows in files] == [300, 300, 300, 100]
    assert [id for rows in files for id in rows] == list(range(1, 1001))


@pytest.mark.parametrize("source", [replace(SNAPSHOT, table="gates"), replace(CURSOR, table="gates")])
def test_a_missing_table_is_named_in_the_error(landed: Landed, source: Source) -> None:
    with pytest.raises(NotFoundError, match="table 'gates' of connection 'shop'"):
        landed.take(source)


def test_a_missing_column_is_named_in_the_error(landed: Landed) -> None:
    with pytest.raises(NotFoundError, match="column 'changed' of source table orders.*id, amount, updated_at"):
        landed.take(replace(CURSOR, cursor="changed"))


def test_postgresql_values_keep_their_exact_text(server: Postgres) -> None:
    server.execute(
        "DROP SCHEMA IF EXISTS odd CASCADE",
        "CREATE SCHEMA odd",
        'CREATE TABLE odd."100% odd:names" ('
        'id uuid PRIMARY KEY, "goldpath row" numeric, t timestamptz, local timestamp, day date, bytes bytea, free json, list int[],'
        " real float8, big bigint, span interval, point point)",
        "INSERT INTO odd.\"100% odd:names\" VALUES ('f9e5ac8c-3159-4478-8270-320b60295965', 12345678901234567890.10,"
        " '2013-11-01 05:00:00.123456+01', '2013-11-01 05:00', '2013-11-01', decode(repeat('ff00', 60), 'hex'),"
        " E'{\"z\":\\n1.10}', '{1,2}', 0.1, 9223372036854775807, '1 day 02:00', '(1,2)')",
    )
    source = SqlSnapshot("shop", "odd.100% odd:names")
    landed = Landed(server.address)
    text = (
        '{"id":"f9e5ac8c-3159-4478-8270-320b60295965","goldpath row":12345678901234567890.10,'
        '"t":"2013-11-01T04:00:00.123456+00:00","local":"2013-11-01T05:00:00","day":"2013-11-01",'
        f'"bytes":"{"/wD/AP8A" * 20}","free":{{"z": 1.10}},"list":[1,2],"real":0.1,"big":9223372036854775807,'
        '"span":"1 day 02:00:00","point":"(1,2)"}\n'
    )
    assert landed.take(source) == [text.encode()]
    assert landed.names == ["odd.100_odd_names.jsonl"]


def test_sqlite_values_keep_their_type(tmp_path: Path) -> None:
    path = tmp_path / "stands #1 é?%20.db"
    run(
        path,
        'CREATE TABLE stands ("gate no" TEXT, pier INTEGER, length REAL, seal BLOB, PRIMARY KEY (pier, "gate no"))',
    )
    run(path, "INSERT INTO stands VALUES ('B', 2, 0.1, x'ff00'), ('A', 2, NULL, NULL), ('Zürich', 1, 28.0, NULL)")
    source = SqlSnapshot("operations", "stands")
    [content] = Landed(f"sqlite:///{quote(str(path))}").take(source)
    assert content.decode().splitlines() == [
        '{"gate no": "Zürich", "pier": 1, "length": 28.0, "seal": null}',
        '{"gate no": "A", "pier": 2, "length": null, "seal": null}',
        '{"gate no": "B", "pier": 2, "length": 0.1, "seal": "/wA="}',
    ]


@pytest.mark.parametrize("key", ["uuid", "text", "numeric", "bytea", "date"])
def test_an_increment_continues_from_a_postgresql_key_of_any_type(server: Postgres, key: str) -> None:
    literals = {
        "uuid": [f"f9e5ac8c-3159-4478-8270-32000000000{n}" for n in range(4)],
        "text": ["a", "b'", "c%", "d:e"],
        "numeric": ["1.10", "2", "10", "100.5"],
        "bytea": ["\\x00", "\\x01", "\\xfe", "\\xff"],
        "date": ["2013-11-01", "2013-11-02", "2013-12-01", "2014-01-01"],
    }[key]
    values = ", ".join("('{}', '2013-11-01')".format(text.replace("'", "''")) for text in literals)
    server.execute(
        "DROP TABLE IF EXISTS keyed",
        f"CREATE TABLE keyed (id {key} PRIMARY KEY, on_day date NOT NULL)",
        f"INSERT INTO keyed VALUES {values}",
    )
    landed = Landed(server.address)
    source = SqlCursor("shop", "keyed", "on_day", lateness=timedelta(days=1), rows_per_file=1)
    for _ in literals:
        assert [len(rows) for rows in ids(landed.take(source, stop_after=1))] == [1]
    assert landed.take(source) == []
    assert len({id for [id] in ids(landed.contents)}) == len(literals)


def test_a_sqlite_key_may_be_bytes(tmp_path: Path) -> None:
    path = tmp_path / "tags.db"
    run(
        path,
        "CREATE TABLE tags (id BLOB PRIMARY KEY, n INTEGER NOT NULL)",
        "INSERT INTO tags VALUES (x'00', 1), (x'ff', 1)",
    )
    landed = Landed(f"sqlite:///{path}")
    source = SqlCursor("shop", "tags", "n", lateness=0, rows_per_file=1)
    assert ids(landed.take(source, stop_after=1)) == [["AA=="]]
    assert ids(landed.take(source)) == [["/w=="]]
    assert landed.take(source) == []


def test_the_rows_of_a_long_transaction_land_once_it_commits(server: Postgres) -> None:
    """Its rows have the instant at which it began, before rows that were committed and read since then."""
    server.execute(
        "DROP TABLE IF EXISTS orders", "CREATE TABLE orders (id serial PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())"
    )  # fmt: skip
    landed = Landed(server.address)
    with server.connected() as slow, slow.cursor() as statements:
        statements.execute("INSERT INTO orders DEFAULT VALUES")
        server.execute("INSERT INTO orders DEFAULT VALUES")
        assert ids(landed.take(CURSOR)) == [[2]]
    assert ids(landed.take(CURSOR)) == [[1, 2]]
    assert landed.take(CURSOR) == []


def test_changes_while_a_table_is_read_land_with_the_next_extraction(server: Postgres) -> None:
    server.execute(
        "DROP TABLE IF EXISTS orders",
        "CREATE TABLE orders (id integer PRIMARY KEY, updated_at timestamptz NOT NULL)",
        "INSERT INTO orders SELECT n, timestamptz '2013-11-01' + n * interval '1 second' FROM generate_series(1, 6) n",
    )
    landed = Landed(server.address)
    source = replace(CURSOR, lateness=timedelta(0), rows_per_file=2)
    extraction = source.extract(None, connection=server.address, now=NOW)
    landed.add([next(extraction)])
    server.execute("UPDATE orders SET updated_at = '2013-11-02' WHERE id = 5", "DELETE FROM orders WHERE id = 6")
    landed.add(extraction)
    assert ids(landed.contents) == [[1, 2], [3, 4], [5, 6]]
    assert ids(landed.take(source)) == [[5]]


def test_after_a_broken_connection_the_next_extraction_lands_the_rest(server: Postgres) -> None:
    server.execute(
        "DROP TABLE IF EXISTS orders",
        "CREATE TABLE orders (id integer PRIMARY KEY, updated_at timestamptz NOT NULL)",
        "INSERT INTO orders SELECT n, timestamptz '2013-11-01' + n * interval '1 second' FROM generate_series(1, 30000) n",
    )
    landed = Landed(server.address)
    extraction = replace(CURSOR, rows_per_file=1000).extract(None, connection=server.address, now=NOW)
    landed.add([next(extraction)])
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'goldpath'")
    with pytest.raises(TransientError, match="connection 'shop'"):
        landed.add(extraction)
    landed.take(CURSOR)
    assert [id for rows in ids(landed.contents) for id in rows] == list(range(1, 30001))


def test_a_password_is_in_no_error_and_in_no_position(server: Postgres) -> None:
    wrong = server.address.replace(server.password, "wrong-password")
    unreachable = server.address.replace(f":{server.port}", ":1")
    for address, kind in ((wrong, LandingError), (unreachable, TransientError), (f"nonsense{wrong}", SettingsError)):
        with pytest.raises(kind) as caught:
            list(SNAPSHOT.extract(None, connection=address, now=NOW))
        error: BaseException | None = caught.value
        while error is not None:
            assert "wrong-password" not in repr(error) + str(error)
            assert server.password not in repr(error) + str(error)
            error = error.__cause__


def test_a_database_that_refuses_connections_at_first_is_read_by_a_retry(server: Postgres, tmp_path: Path) -> None:
    server.execute("DROP TABLE IF EXISTS orders", "CREATE TABLE orders (id integer PRIMARY KEY)")
    server.execute("ALTER DATABASE postgres CONNECTION LIMIT 0", "DROP ROLE IF EXISTS reader")
    server.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'", "GRANT SELECT ON orders TO reader")
    address = f"postgresql://reader:reader@127.0.0.1:{server.port}/postgres"
    with pytest.raises(TransientError, match="too many connections"):
        list(SNAPSHOT.extract(None, connection=address, now=NOW))
    opening = threading.Timer(0.2, lambda: server.execute("ALTER DATABASE postgres CONNECTION LIMIT -1"))
    opening.start()
    patient = replace(SNAPSHOT, backoff=Backoff(attempts=100, first_seconds=0.05, longest_seconds=0.1))
    assert [e.rows for e in patient.extract(None, connection=address, now=NOW)] == [0]
    opening.join()
    with psycopg2.connect(server.address) as connection, connection.cursor() as cursor:
        cursor.execute("DROP OWNED BY reader")
        cursor.execute("DROP ROLE reader")
    connection.close()


def test_a_missing_sqlite_file_is_named_in_the_error_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="connection 'shop': no file .*missing.db"):
        list(SNAPSHOT.extract(None, connection=f"sqlite:///{tmp_path}/missing.db", now=NOW))
    assert not (tmp_path / "missing.db").exists()
