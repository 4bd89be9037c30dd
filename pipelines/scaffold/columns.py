"""Columns of tables as contracts and modules need them: their kind, and their form in YAML and Python."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.contracts.domain import Domain
from pipelines.contracts.model import Column, Contract
from pipelines.features.declaration import EVENT_TIMESTAMP
from pipelines.landing.proposal.code import literal
from pipelines.models.question import Question
from pipelines.policy.rules import rank
from pipelines.scaffold.draft import refuse
from pipelines.tables import TableId

NUMBERS = ("int", "bigint", "double", "float", "decimal")
_LOGICAL = {"int": "integer", "bigint": "integer", "double": "number", "float": "number", "decimal": "number"}
_DEFAULT = {"integer": "bigint", "number": "double"}


def is_number(column: Column) -> bool:
    """Whether its values are numbers; a boolean is none."""
    return column.type.startswith(NUMBERS)


def required(contract: Contract) -> set[str]:
    """The columns that are never null."""
    return {rule.column for rule in contract.row_rules if rule.kind == "required"} | set(contract.key_columns)


def find(contract: Contract, name: str, option: str, types: Sequence[str]) -> Column:
    """The column that an option names; raises UsageError if the table lacks it, or its type is another."""
    known = [column.name for column in contract.columns if column.type.startswith(tuple(types))]
    if name not in known:
        types_now = [column.type for column in contract.columns if column.name == name]
        refuse(
            f"{option} {name}",
            f"its type is {types_now[0]}" if types_now else f"{contract.table} has no such column",
            f"a column of type {', '.join(types)}: {', '.join(known) or 'the table has none'}",
            f"correct the option, or the column in {contract.path}",
        )
    return contract.column(name)


def node(name: str, type_: str, description: str, **more: Any) -> dict[str, Any]:
    """A column of an ODCS document."""
    base = type_.partition("(")[0]
    logical = _LOGICAL.get(base, base)
    physical = {} if _DEFAULT.get(logical, logical) == type_ else {"physicalType": type_}
    return {"name": name, "logicalType": logical, **physical, **more, "description": description or said(name)}


def protection(source: Contract, name: str, domain: Domain) -> dict[str, Any]:
    """The `classification` that a column needs which is computed from one of `source`; empty where it needs none."""
    data_class = source.data_class(name)
    return {"classification": data_class} if rank(data_class) > rank(domain.cost.data_class) else {}


def key(position: int) -> dict[str, Any]:
    """What makes a column one of the key."""
    return {"primaryKey": True, "primaryKeyPosition": position, "required": True}


def instant(description: str, **more: Any) -> dict[str, Any]:
    """The column `event_timestamp`."""
    return node(EVENT_TIMESTAMP, "timestamp", description, **({"required": True} | more))


def document(
    table: TableId,
    domain: Domain,
    properties: Sequence[Mapping[str, Any]],
    *,
    purpose: str,
    grain: str,
    workload: str,
    rules: Sequence[Mapping[str, Any]] = (),
    drift: tuple[str, str] = ("freeze", "freeze"),
    custom: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An ODCS document of a table of the domain; `drift` is that of columns and of data types."""
    columns, data_type = drift
    values = {
        **(custom or {}),
        "drift": {"tables": "freeze", "columns": columns, "data_type": data_type},
        "tags": domain.cost.of(workload),
    }
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"{table.zone}-{table.domain}-{table.table}".replace("_", "-"),
        "name": said(table.table).rstrip("."),
        "version": "1.0.0",
        "status": "active",
        "domain": domain.name,
        "description": {"purpose": purpose},
        "team": {"name": domain.owner},
        "schema": [
            {
                "name": table.table,
                "physicalName": str(table),
                "dataGranularityDescription": grain,
                "properties": [dict(column) for column in properties],
                **({"quality": [dict(rule) for rule in rules]} if rules else {}),
            }
        ],
        "slaProperties": [
            {"property": "freshness", "value": 2, "unit": "d"},
            {"property": "retention", "value": 2, "unit": "y"},
        ],
        "customProperties": [{"property": name, "value": value} for name, value in values.items()],
    }


def file_name(table: TableId) -> str:
    """The contract's file."""
    return f"{table.zone}_{table.table}.yaml"


HAS_ROWS = {
    "name": "has_rows", "type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 1,
    "description": "An empty table would turn every value that is derived from it into a missing one.",
}  # fmt: skip


def said(name: str) -> str:
    """A name as a sentence, for a description that nobody has written yet."""
    return name.replace("_", " ").capitalize() + "."


def identifier(name: str) -> str:
    """The name of a column as that of a field of a question."""
    plain = re.sub(r"\W", "_", name).strip("_") or "value"
    if plain[0].isdigit():
        plain = f"n{plain}"
    taken = keyword.iskeyword(plain) or hasattr(Question, plain) or plain.startswith("model_")
    return f"{plain}_" if taken else plain


def texts(values: Iterable[str]) -> str:
    """Texts as literals, separated by commas."""
    return ", ".join(literal(value) for value in values)
