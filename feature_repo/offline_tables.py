"""The published tables as Feast's offline store reads them: by the path of a source, up to the class that all may see.

Feast's tools name no clearance, so a column above that class is refused, whether a view, a query or a saved dataset
asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.errors import SettingsError
from pipelines.features.declaration import SHOWN, is_shown
from pipelines.tables import TableId

if TYPE_CHECKING:
    from feature_repo.feast_api import DataSource
    from pipelines.contracts.model import Contract

#: Returns the rows of a table, as of the version that the reader reads.
Read = Callable[[TableId], Any]


def newest(table: TableId) -> Any:
    """The newest published version of a table.

    Raises:
        NotFoundError: if no version of the table is published.
    """
    # Here: the definitions import this package.
    from pipelines.definitions import shared_platform

    lakehouse = shared_platform().lakehouse
    return lakehouse.read(lakehouse.current(table))


def require_shown(table: TableId, columns: Iterable[str]) -> None:
    """Raises SettingsError for a column above the class that is shown to everybody."""
    contract = _contract(table)
    shown = {*columns} & {*shown_columns(table)}
    known = {column.name for column in contract.columns}
    if above := [name for name in columns if name in known and name not in shown]:
        raise SettingsError(
            object=f"table {table}",
            observed=f"Feast was asked for {', '.join(above)}, more protected than {SHOWN}",
            expected=f"columns up to {SHOWN}",
            next_step="leave them out, or read them in a governed run, whose service declares what it reads",
        )


def shown_columns(table: TableId) -> list[str]:
    """The columns of a table's contract up to the class that is shown to everybody."""
    contract = _contract(table)
    return [column.name for column in contract.columns if is_shown(contract.data_class(column.name))]


def column_types(table: TableId) -> list[tuple[str, str]]:
    """The columns of a table's newest version that are shown to everybody, each with the name of its Arrow type.

    Raises:
        NotFoundError: if no version of the table is published.
    """
    from pipelines.definitions import shared_platform

    schema, shown = (
        pa.schema(shared_platform().lakehouse.snapshot(table).delta.schema().to_arrow()),
        shown_columns(table),
    )
    return [(field.name, str(field.type)) for field in schema if field.name in shown]


def table_of(source: DataSource | None) -> TableId:
    """The table that a source names as its path.

    Raises:
        NotFoundError: for a path that is no table's name.
    """
    named: Any = source
    return TableId.parse(named.path)


def tables() -> list[TableId]:
    """Every table that a contract declares."""
    from pipelines.definitions import shared_platform

    return [*shared_platform().contracts]


def _contract(table: TableId) -> Contract:
    from pipelines.definitions import shared_platform

    platform = shared_platform()
    platform.require_loaded("feature_repo/feature_store.yaml", table)
    return platform.contracts[table]


def source_rows(source: DataSource | None, columns: Iterable[str], read: Read, *, mapped: bool) -> Any:
    """The rows of a source's table.

    Args:
        source: The source; each of our views has one.
        columns: The columns that are asked for, which have to be shown to everybody.
        read: How the table is read.
        mapped: Whether columns have the names of the source's field mapping; else those of the table.

    Raises:
        NotFoundError: if no version of the table is published.
        SettingsError: for a column above the class that is shown to everybody.
    """
    table, mapping = table_of(source), dict(source.field_mapping) if mapped and source else {}
    names = {mapping.get(name, name): name for name in mapping}
    require_shown(table, [names.get(name, name) for name in columns])
    rows = read(table)
    return rows.withColumnsRenamed({name: mapping[name] for name in mapping if name in rows.columns})
