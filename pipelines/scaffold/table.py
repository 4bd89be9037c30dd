"""`goldpath new table`: a gold table that passes on the columns of another table, to begin with."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.contracts.domain import Domain
from pipelines.contracts.model import Contract
from pipelines.landing.proposal.code import literal
from pipelines.scaffold import columns
from pipelines.scaffold.draft import Draft, refuse
from pipelines.scaffold.module import Module
from pipelines.tables import TableId

GOLD_IMPORTS = {
    "pipelines.medallion.decorators": ("gold_asset",),
    "pipelines.orchestration.automation": ("when_inputs_are_good",),
}
DATA_FRAME = {"pyspark.sql": ("DataFrame",)}
GOLD_DOC = "Gold: what is derived from published tables."


def draft(domain: Domain, table: TableId, source: Contract, key: Sequence[str]) -> Draft:
    """The contract and the function of a gold table with the columns of `source`.

    Args:
        domain: The domain of the table.
        table: The table.
        source: The contract of the table that it is derived from.
        key: The columns of its key; empty takes those of the source.

    Raises:
        UsageError: if the table is none of gold, or has no key.
    """
    if table.zone != "gold" or table.domain != domain.name:
        refuse(f"table {table}", "it is no gold table", f"gold/{domain.name}/NAME", "`goldpath landing propose` writes "
               "the first form of bronze and silver")  # fmt: skip
    names = [column.name for column in source.columns]
    key = list(key) or source.key_columns
    for name in key:
        columns.find(source, name, "--key", ("",))
    if not key:
        refuse("--key", f"it is missing, and {source.table} has no key", "the columns that tell rows apart",
               f"add --key, one of {', '.join(names)}")  # fmt: skip
    filled = columns.required(source)
    properties = [
        columns.node(
            column.name, column.type, column.description, **columns.protection(source, column.name, domain),
            **(columns.key(key.index(column.name) + 1) if column.name in key
               else {"required": True} if column.name in filled else {}),
            **({"customProperties": [{"property": "unit", "value": column.unit}]} if column.unit else {}),
        )
        for column in source.columns
    ]  # fmt: skip
    document = columns.document(
        table,
        domain,
        properties,
        purpose=f"What {table.table} is for: say it here, people read it in the UI.",
        grain=f"One row per {', '.join(key)}.",
        workload="features",
        rules=[columns.HAS_ROWS],
    )
    return Draft({columns.file_name(table): document}, [_module(domain, table, source, names)], [], [
        f"goldpath materialize {table}", f"goldpath tables show {table}"
    ])  # fmt: skip


def _module(domain: Domain, table: TableId, source: Contract, names: Sequence[str]) -> Module:
    parameter = source.table.table
    body = (
        decorator(table, source)
        + f"def {table.table}({parameter}: DataFrame) -> DataFrame:\n"
        + f'    """{columns.said(table.table)[:-1]}: say here what one row is."""\n'
        + f"    return {parameter}.select(\n"
        + "".join(f"        {literal(name)},\n" for name in names)
        + "        RECORD_ID,\n    )"
    )
    imports = {f"assets.{domain.name}.domain": ("contract",), "pipelines.tables": ("RECORD_ID",), **GOLD_IMPORTS}
    return Module("gold.py", GOLD_DOC, imports, body, DATA_FRAME)


def decorator(table: TableId, source: Contract) -> str:
    """The decorator of a gold table that is derived from one other."""
    line = (
        f'@gold_asset(contract("gold/{table.table}"), inputs={{"{source.table.table}": "{source.table}"}}, '
        "automation=when_inputs_are_good())\n"
    )
    if len(line) <= 121:
        return line
    return (
        f'@gold_asset(\n    contract("gold/{table.table}"),\n'
        f'    inputs={{"{source.table.table}": "{source.table}"}},\n'
        "    automation=when_inputs_are_good(),\n)\n"
    )
