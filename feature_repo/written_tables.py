"""The gold tables that Feast writes: tables with a contract that no asset computes, each written by a governed run.

Saved datasets, rows for a feature view, and logs of served features are such tables. The run judges all rows of the new
version by the contract, and leaves lineage, cost and Dagster's record as the run of any gold table does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_repo.offline_tables import newest
from pipelines.errors import DefinitionError, GoldpathError, NotFoundError, SettingsError
from pipelines.machine import locks
from pipelines.tables import TableId, quoted

if TYPE_CHECKING:
    from feature_repo.offline_tables import Read
    from pipelines.contracts.model import Contract
    from pipelines.governed.platform import Platform


def save(table: TableId, plan: Callable[[Read], Any], inputs: Sequence[TableId], *, allow_overwrite: bool) -> None:
    """Writes the rows of a plan as the next version of a table.

    Args:
        table: The table; of the plan's columns those of its contract are kept.
        plan: Makes the plan, of tables as a function reads them.
        inputs: The tables that it reads.
        allow_overwrite: Whether the table may have rows, which these replace.

    Raises:
        SavedDatasetLocationAlreadyExists: if the table has rows that may not be replaced.
        SettingsError: if the rows are computed from the table itself.
        What `_run` raises.
    """
    from feature_repo.feast_api import SavedDatasetLocationAlreadyExists
    from pipelines.definitions import shared_platform

    platform = shared_platform()
    contract = _contract(platform, table)
    with _held(platform, table):
        if platform.lakehouse.version(table) is not None and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(table))
        if table in inputs:
            raise SettingsError(
                object=f"table {table}",
                observed="Feast was asked to replace it by rows that are computed from it",
                expected="a table that the rows are not computed from",
                next_step="save them under another name",
            )
        _run(platform, contract, plan, inputs)


def append(table: TableId, rows: pa.Table) -> None:
    """Adds rows to a table, as its next version.

    Raises:
        DefinitionError: for a column that the contract lacks, or a value that its type does not hold exactly.
        What `_run` raises.
    """
    from pipelines.definitions import shared_platform

    platform = shared_platform()
    contract = _contract(platform, table)
    types = {column.name: column.type for column in contract.columns}
    if further := [name for name in rows.column_names if name not in types]:
        raise DefinitionError(
            object=f"rows for {table}",
            observed=f"columns {', '.join(further)}",
            expected=f"columns of {contract.path}: {', '.join(types)}",
            next_step="leave them out, or add them to the contract",
        )
    session = platform.lakehouse.session
    none = session.createDataFrame([], ", ".join(f"{quoted(name)} {types[name]}" for name in rows.column_names))
    added = session.createDataFrame(_exactly(rows, pa.schema(none.toArrow().schema), table))

    def plan(_: Read) -> Any:  # Dagster knows no asset that depends on itself
        return newest(table).unionByName(added, allowMissingColumns=True) if has_rows else added

    with _held(platform, table):
        has_rows = platform.lakehouse.version(table) is not None
        _run(platform, contract, plan, [])


def _exactly(rows: pa.Table, schema: pa.Schema, table: TableId) -> pa.Table:
    """The rows in the types of a schema; a time without a zone is in UTC."""
    columns = []
    for name, target in zip(rows.column_names, schema, strict=True):
        try:
            found = rows[name].cast(target.type)
            exact = found.cast(rows[name].type).equals(rows[name])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            exact = False
        if not exact:
            raise DefinitionError(
                object=f"rows for {table}, column {name}",
                observed=f"{rows[name].type} with values that {target.type} does not hold exactly",
                expected=f"values of type {target.type}",
                next_step="convert the column before it is written",
            )
        columns.append(found)
    return pa.Table.from_arrays(columns, schema=schema)


def _contract(platform: Platform, table: TableId) -> Contract:
    """The contract of a table that no asset writes.

    Raises:
        NotFoundError: if no contract declares the table.
        SettingsError: if an asset writes the table, or it is in another zone.
    """
    from pipelines.medallion.gold import derivations

    contract = platform.contracts.get(table)
    if contract is None:
        raise NotFoundError(
            object=f"table {table}",
            observed="no contract declares it",
            expected="a contract: it says who owns the rows, what they are for, how protected they are and what holds",
            next_step=f"write assets/{table.domain}/contracts/{table.zone}_{table.table}.yaml, as of any gold table, "
            "with the columns of the rows",
        )
    if table.zone != "gold" or table in derivations:
        landed = ", ".join(sorted(_landed(table)))
        raise SettingsError(
            object=f"table {table}",
            observed="Feast was asked to write rows to it",
            expected="a gold table with a contract that no asset computes: this one follows from its inputs, and rows "
            "from elsewhere would be gone with its next run",
            next_step=f"deliver or push the rows to {landed or 'its sources'}, or write to a table of their own",
        )
    return contract


def _landed(table: TableId) -> set[str]:
    """The sources in the landing zone from which a table is computed."""
    from pipelines.medallion.gold import derivations

    if table.zone in ("bronze", "silver"):
        return {f"landing/{table.domain}/{table.table}"}
    inputs = derivations[table].inputs.values() if table in derivations else ()
    return {landed for read in inputs for landed in _landed(read)}


def _held(platform: Platform, table: TableId) -> Any:
    """The lock of those that write a table from its newest version: of two at a time one would lose its rows."""
    return locks.held(platform.lakehouse.locks / f"{table.source_name}.written.lock", purpose=f"rows for {table}")


def _run(platform: Platform, contract: Contract, plan: Callable[[Read], Any], inputs: Sequence[TableId]) -> None:
    """One governed run that replaces a table by the rows of a plan.

    Raises:
        DefinitionError: for a plan that lacks a column of the contract, or an input more protected than the table.
        VerdictError: if the rows break a rule of the contract.
    """
    import dagster as dg

    from pipelines.governed.declaration import PLATFORM, RECOMPUTE
    from pipelines.medallion.decorators import gold_asset
    from pipelines.medallion.gold import derivations
    from pipelines.orchestration import dagster_home
    from pipelines.orchestration.runs import NO_LOG

    def rows(**tables: Any) -> Any:
        return plan(lambda table: tables[table.source_name])

    rows.__doc__ = contract.purpose
    try:
        asset = gold_asset(contract, inputs={table.source_name: str(table) for table in inputs})(rows)
        with dagster_home.instance_of_a_guest(platform.settings) as instance:
            dg.materialize(
                [asset],
                resources={PLATFORM: platform},
                instance=instance,
                tags={RECOMPUTE: "true"},
                run_config=NO_LOG,
            )
    except dg.Failure as failure:
        if isinstance(failure.__cause__, GoldpathError):
            raise failure.__cause__ from None
        raise
    finally:
        derivations.pop(contract.table, None)
