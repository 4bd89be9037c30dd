"""Databases for sources: a table opened read-only, its rows as JSON lines that keep each value's exact text.

PostgreSQL creates the lines itself, with `row_to_json` in UTC: numerics keep their digits, timestamps are ISO 8601.
SQLite's integers, reals and texts keep their types. Bytes are base64 in both.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import GoldpathError, LandingError, NotFoundError, SettingsError, TransientError
from pipelines.retrying import Backoff, is_transient

if TYPE_CHECKING:
    import sqlalchemy as sa

#: Rows that are fetched at once through a server-side cursor.
FETCHED_ROWS = 5_000
_ROW = "goldpath_row"


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table in an open read transaction, which sees one state of it.

    Attributes:
        connection: The connection of the transaction.
        name: The table's name as declared.
        rows: What its rows are selected from, with values that JSON can hold.
        columns: The columns of `rows` by name.
        types: Their types.
        key: The names of the primary key's columns.
        nullable: The names of the columns that may hold NULL.
        line: A row as JSON text, made by the database; None if Python makes it.
    """

    connection: sa.Connection
    name: str
    rows: sa.FromClause
    columns: Mapping[str, sa.ColumnElement[Any]]
    types: Mapping[str, Any]
    key: tuple[str, ...]
    nullable: frozenset[str]
    line: sa.ColumnElement[Any] | None

    def column(self, name: str) -> sa.ColumnElement[Any]:
        """A column by name; raises NotFoundError."""
        if name not in self.columns:
            raise NotFoundError(
                object=f"column {name!r} of source table {self.name}",
                observed="the table has no such column",
                expected=f"one of {', '.join(self.columns)}",
                next_step="correct the source's declaration",
            )
        return self.columns[name]

    def count(self, where: sa.ColumnElement[bool]) -> int:
        """How many rows meet a condition."""
        import sqlalchemy as sa

        return int(self.connection.scalar(sa.select(sa.func.count()).select_from(self.rows).where(where)) or 0)

    def stream(self, *more: sa.ColumnElement[Any], where: Any = None, order: list[Any]) -> Iterator[tuple[bytes, Any]]:
        """Rows as JSON lines, each with the values of `more`, fetched as they are consumed."""
        import sqlalchemy as sa

        names = list(self.columns)
        selected = [self.line] if self.line is not None else list(self.columns.values())
        query = sa.select(*selected, *(column.label(f"_{n}") for n, column in enumerate(more)))
        query = query.select_from(self.rows)
        query = query.order_by(*order) if where is None else query.where(where).order_by(*order)
        width, encode = len(selected), json.JSONEncoder(ensure_ascii=False, default=_base64).encode
        with self.connection.execution_options(yield_per=FETCHED_ROWS).execute(query) as rows:
            for row in rows:
                if self.line is not None:
                    text = row[0].replace("\n", " ")  # a value of type json keeps its line ends
                else:
                    text = encode(dict(zip(names, row, strict=False)))
                yield text.encode() + b"\n", row[width:]


@contextmanager
def opened(address: str, table: str, *, source: str, backoff: Backoff) -> Iterator[OpenTable]:
    """Opens a table of a database for reading.

    Args:
        address: `postgresql://user:password@host:port/database`, or `sqlite:////path`.
        table: Its name, after its schema and a dot if it is not in the default schema.
        source: The name of the database in errors; never its address.
        backoff: How often and how long to retry a connection.

    Raises:
        SettingsError: if the address is of another kind.
        NotFoundError: if there is no such database file or no such table.
        TransientError: if the database cannot be reached or the connection breaks.
        LandingError: if the database refuses the connection or the query.
    """
    engine = _engine(address, source)
    try:
        with _explained(source), backoff.call(engine.connect) as connection:
            yield _reflected(connection, table, source)
    finally:
        engine.dispose()


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Raises a driver's errors as Goldpath's, without the address and the values of the statement."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        broken = is_transient(error) or error.connection_invalidated
        kind: type[GoldpathError] = TransientError if broken else LandingError
        raise kind(
            object=source,
            observed=" ".join(str(error.orig).split()),
            expected="a database that answers, and a user that may read the table",
            next_step="check that it runs, and the address in GOLDPATH_SOURCES",
        ) from None


def _engine(address: str, source: str) -> sa.Engine:
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    try:
        url = sa.make_url(address)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):  # not shown: the error's text may hold the address
        backend = "none"
    if backend == "sqlite":
        path = Path(url.database or "")
        if not path.is_file():
            raise NotFoundError(
                object=source,
                observed=f"no file {path}",
                expected="a SQLite database",
                next_step="create it, or correct the address in GOLDPATH_SOURCES: sqlite:////absolute/path",
            )
        # SQLAlchemy undoes the quoting of an address's path: with `#` or `?` in it another, empty database is opened.
        uri = f"{path.absolute().as_uri()}?mode=ro"
        connect = partial(sqlite3.connect, uri, uri=True, check_same_thread=False)
        return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)
    if backend not in ("postgresql", "postgres"):
        raise SettingsError(
            object=source,
            observed="an address of another kind of database, or not an address",
            expected="postgresql://user:password@host:port/database or sqlite:////absolute/path",
            next_step="correct it in GOLDPATH_SOURCES",
        )
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg2"),
        poolclass=sa.NullPool,
        isolation_level="REPEATABLE READ",
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "application_name": "goldpath"},
    )


def _reflected(connection: sa.Connection, table: str, source: str) -> OpenTable:
    """The table with what the database says of its columns; raises NotFoundError."""
    import sqlalchemy as sa
    from sqlalchemy.exc import NoSuchTableError, SAWarning

    schema, _, name = table.rpartition(".")
    postgres = connection.dialect.name == "postgresql"
    if postgres:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
    try:
        with warnings.catch_warnings():  # of a type that SQLAlchemy does not know; its values are read as text
            warnings.simplefilter("ignore", SAWarning)
            inspector = sa.inspect(connection)
            columns = inspector.get_columns(name, schema=schema or None)
            key = inspector.get_pk_constraint(name, schema=schema or None)["constrained_columns"]
    except NoSuchTableError:
        raise NotFoundError(
            object=f"table {table!r} of {source}",
            observed="no such table",
            expected="a table or view that the connection's user may read",
            next_step="name one of the database's tables",
        ) from None
    types = {column["name"]: column["type"] for column in columns}
    line, rows = None, sa.table(name, *map(sa.column, types))  # untyped: in SQLite each value has a type of its own
    if postgres:
        origin = sa.table(name, *(sa.column(column, kind) for column, kind in types.items()), schema=schema or None)
        rows = sa.select(*(_portable(origin.c[column], kind) for column, kind in types.items())).subquery(_ROW)
        types = {column: sa.Text() if isinstance(kind, sa.LargeBinary) else kind for column, kind in types.items()}
        line = sa.cast(sa.func.row_to_json(sa.literal_column(_ROW)), sa.Text)
    nullable = frozenset(column["name"] for column in columns if column["nullable"])
    portable = {column: rows.c[column] for column in types}
    return OpenTable(connection, table, rows, portable, types, tuple(key), nullable, line)


def _portable(column: sa.ColumnElement[Any], kind: Any) -> Any:
    """A column of PostgreSQL with values that JSON can hold."""
    import sqlalchemy as sa

    if isinstance(kind, sa.LargeBinary):  # PostgreSQL's base64 has line ends
        return sa.func.replace(sa.func.encode(column, "base64"), "\n", "").label(column.name)
    return column


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no JSON text")
