"""What the columns of the present tables were computed from, as their newest runs recorded it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import DefinitionError
from pipelines.policy.rules import require_inherited
from pipelines.tables import ZONES, TableId

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

#: A column of a table, `(table, column)`.
Column = tuple[str, str]


def newest_columns(events: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[Column]]]:
    """For each table the sources of its columns, as its newest run left them.

    Args:
        events: OpenLineage events, oldest first.
    """
    return {table: {name: _of(field) for name, field in fields.items()} for table, fields in _newest(events).items()}


def raised_classes(platform: Platform, events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, DefinitionError]]:
    """The tables with a column that is less protected than what it was computed from, each with an error that says so.

    A run writes no such column. But where the contract of an input raises a class, the versions that were written
    before keep theirs, and are read as such until the table is derived again.

    Args:
        platform: Its contracts say how protected a column is now.
        events: OpenLineage events, oldest first.
    """
    for name, fields in sorted(_newest(events).items()):
        contract = platform.contracts.get(TableId.parse(name)) if _is_table(name) else None
        if contract is None:
            continue
        declared = {column.name for column in contract.columns}
        sources = {
            column: {f"{table}.{source}": platform.column_classes(TableId.parse(table)).of(source)
                     for table, source in _of(field) if _is_table(table)}
            for column, field in fields.items() if column in declared
        }  # fmt: skip
        try:
            require_inherited(contract, sources)
        except DefinitionError as error:
            yield name, error


def _newest(events: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each table the fields of the facet of its newest run that has one."""
    newest: dict[str, dict[str, Any]] = {}
    for event in events:
        for output in event.get("outputs", []) if event["eventType"] == "COMPLETE" else []:
            facet = output.get("facets", {}).get("columnLineage")
            if facet:
                newest[output["name"]] = facet.get("fields", {})
    return newest


def _is_table(name: str) -> bool:
    """Whether a dataset is a table, and no feature view, landed file or model."""
    return name.partition("/")[0] in ZONES


def _of(field: Mapping[str, Any]) -> list[Column]:
    return [(source["name"], source["field"]) for source in field.get("inputFields", [])]
