"""The rows that Feast asks about: of pandas, of a query over the published tables, or of a range of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from feature_repo.offline_tables import Read, shown_columns, tables
from pipelines.contracts.sql import is_plain, parsed, tables_read
from pipelines.errors import DefinitionError, SettingsError
from pipelines.features.declaration import EVENT_TIMESTAMP, SHOWN

if TYPE_CHECKING:
    from feature_repo.feature_rows import FeatureRows


def instant_column(rows: Any) -> str:
    """The column of entity rows that says when they ask: `event_timestamp`, else their only one of times.

    Raises:
        DefinitionError: if there is no such column, or there are several.
    """
    times = [name for name, type_ in rows.dtypes if type_.startswith("timestamp")]
    if EVENT_TIMESTAMP in rows.columns or len(times) == 1:
        return EVENT_TIMESTAMP if EVENT_TIMESTAMP in rows.columns else times[0]
    raise DefinitionError(
        object="entity rows",
        observed=f"columns {', '.join(rows.columns)}, of which {', '.join(times) or 'none'} are of times",
        expected=f"the instants of the questions as {EVENT_TIMESTAMP}, or as the only column of times",
        next_step=f"name the column {EVENT_TIMESTAMP}",
    )


def of_pandas(entity_df: Any, session: Any) -> Any:
    """The entity rows of pandas as a DataFrame of the engine; a time without a zone is in UTC, as Feast has it."""
    import pandas as pd

    naive = [name for name in entity_df if pd.api.types.is_datetime64_dtype(entity_df[name])]
    return session.createDataFrame(entity_df.assign(**{name: entity_df[name].dt.tz_localize("UTC") for name in naive}))


def of_range(tables: Sequence[FeatureRows], start: datetime, end: datetime) -> Any:
    """Each entity with a row from `start` to `end`, once, at `end`; a key that a view lacks is null in its rows."""
    from pyspark.sql import functions as F

    found = None
    for table in (table for table in tables if table.keys):
        rows = within(table.rows, table.timestamp, start, end)
        rows = rows.select(*[F.col(theirs).alias(ours) for ours, theirs in table.keys.items()]).dropna()
        found = rows if found is None else found.unionByName(rows, allowMissingColumns=True)
    if found is None:  # views without entities
        one = pa.table({EVENT_TIMESTAMP: pa.array([end], pa.timestamp("us", "UTC"))})
        return tables[0].rows.sparkSession.createDataFrame(one)
    return found.distinct().withColumn(EVENT_TIMESTAMP, F.lit(end))


def within(rows: Any, timestamp: str, start: datetime | None, end: datetime | None) -> Any:
    """The rows whose timestamp lies from `start` to `end`, both included; None sets no bound."""
    from pyspark.sql import functions as F

    if start is not None:
        rows = rows.where(F.col(timestamp) >= F.lit(start))
    if end is not None:
        rows = rows.where(F.col(timestamp) <= F.lit(end))
    return rows


def of_query(text: str, read: Read) -> Any:
    """The entity rows that a query over published tables gives, as a plan that has not run.

    A table is named by its source's name, as `gold_shop_orders`, and has the columns that are shown to everybody.

    Args:
        text: One SELECT.
        read: How a table is read.

    Raises:
        SettingsError: for a text that is something else, or reads something else.
    """
    from pyspark.errors import AnalysisException
    from sqlglot import exp

    def refused(expected: str) -> NoReturn:
        raise SettingsError(
            object="entity rows",
            observed=f"the query {text!r}",
            expected=expected,
            next_step="correct the query; `goldpath tables show TABLE` lists a table's columns",
        )

    tree = parsed(text, refused)
    if not isinstance(tree, exp.Query):
        refused("one SELECT")
    known = {table.source_name.lower(): table for table in tables()}
    parts, frames, end = [], {}, 0
    for named in sorted(tables_read(tree), key=lambda table: table.this.meta.get("start", 0)):
        table = known.get(named.name.lower()) if is_plain(named) else None
        if table is None:
            refused(f"a SELECT over published tables, as zone_domain_table, not over {named.sql(dialect='spark')}")
        place = f"table_{len(frames)}"
        frames[place] = read(table).select(*shown_columns(table))
        start = named.this.meta["start"]
        parts += [_literal(text[end:start]), f"{{{place}}}" if named.alias else f"{{{place}}} AS {named.name}"]
        end = named.this.meta["end"] + 1
    if not frames:
        refused("a SELECT over published tables")
    try:
        rows = frames["table_0"].sparkSession.sql("".join([*parts, _literal(text[end:])]), **frames)
        rows.schema  # noqa: B018 the embedded engine resolves names only now
    except AnalysisException as error:
        words = " ".join(str(error).partition("== SQL")[0].split())
        refused(f"a query that the engine resolves, over columns up to {SHOWN}: {words}")
    return rows


def _literal(text: str) -> str:
    """A part of a query in which braces stand for themselves."""
    return text.replace("{", "{{").replace("}", "}}")
