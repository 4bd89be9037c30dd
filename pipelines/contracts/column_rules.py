"""Reads the row rules that follow from a column's own properties: its type, `required`, limits, `enum`, references."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

from pipelines.contracts.model import Bounds, Column, Drift, RowRule, Severity
from pipelines.contracts.nodes import Place, custom_properties, refuse, require_pattern, severity
from pipelines.errors import NotFoundError
from pipelines.tables import TableId

#: The custom properties of a column.
COLUMN_PROPERTIES = ("unit", "severity", "timezone", "nonFinite")
_REFERENCE_PROPERTIES = ("severity", "reason")
#: Options of a logical type, with the field of `Bounds` that each sets.
LIMITS = {"minimum": "minimum", "maximum": "maximum", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
LENGTHS = {"minLength": "minimum", "maxLength": "maximum"}
_OPTIONS = (*LIMITS, *LENGTHS, "pattern")


def column_rules(
    path: Path, node: dict[str, Any], column: Column, at: Place, data_type_drift: Drift | None
) -> list[RowRule]:
    """The row rules of one column.

    Args:
        path: The contract file, for errors.
        node: The column's node in the file.
        column: The column that was read from it.
        at: The node's place in the file.
        data_type_drift: How the table treats a text that the column's type cannot hold; None where nothing is cast, as
            in bronze and in gold.

    Raises:
        ContractError: if an option, a limit, a pattern, a severity or a reference is not valid.
    """
    name, options = column.name, node["logicalTypeOptions"] or {}
    custom = custom_properties(path, node, [*at, "customProperties"], COLUMN_PROPERTIES)
    level = severity(path, custom.get("severity"), [*at, "customProperties", "severity"])
    for option in options:
        if option not in _OPTIONS:
            refuse(path, [*at, "logicalTypeOptions", option], options[option], f"only {', '.join(_OPTIONS)}")
    rules = _type_rules(column, data_type_drift) if data_type_drift else []
    if column.key_position:
        rules.append(RowRule(f"{name}_required", "required", name, "error"))
    elif node["required"]:
        rules.append(RowRule(f"{name}_required", "required", name, level))
    rules += _option_rules(path, options, column, [*at, "logicalTypeOptions"], level)
    if node["enum"]:
        allowed = tuple(entry["value"] for entry in node["enum"])
        rules.append(RowRule(f"{name}_set", "set", name, level, allowed))
    for position, relation in enumerate(node["relationships"] or []):
        rules.append(_reference(path, relation, name, [*at, "relationships", position]))
    if node["unique"]:
        rules.append(RowRule(f"{name}_unique", "duplicate", name, level, (name,), f"{name} identifies one row"))
    return rules


def _type_rules(column: Column, drift: Drift) -> list[RowRule]:
    """The rules that a text can be cast to the column's type, and that a local time exists in its time zone."""
    if column.type == "string" or not column.source:
        return []
    name = column.name
    level: Severity = "warning" if drift in ("discard_value", "evolve") else "error"
    rules = [RowRule(f"{name}_type", "type", name, level, column.type, f"{name} is {column.type}")]
    if column.timezone:
        reason = f"the local time exists in {column.timezone}"
        rules.append(RowRule(f"{name}_nonexistent", "clock", name, level, column.timezone, reason))
    return rules


def _option_rules(path: Path, options: dict[str, Any], column: Column, at: Place, level: Severity) -> list[RowRule]:
    """The rules about a value's range, its length and its pattern."""
    name, rules = column.name, []
    limits = {
        LIMITS[option]: _limit(path, value, column, [*at, option])
        for option, value in options.items()
        if option in LIMITS
    }
    if limits:
        rules.append(RowRule(f"{name}_range", "range", name, level, Bounds(**limits)))
    lengths = {LENGTHS[option]: value for option, value in options.items() if option in LENGTHS}
    if lengths:
        rules.append(RowRule(f"{name}_length", "length", name, level, Bounds(**lengths)))
    if options.get("pattern"):
        require_pattern(path, options["pattern"], [*at, "pattern"])
        rules.append(RowRule(f"{name}_pattern", "pattern", name, level, options["pattern"]))
    return rules


def _limit(path: Path, value: Any, column: Column, at: Place) -> Any:
    """The limit as it stands in the file; that of a date or a timestamp has to be ISO 8601."""
    if column.type in ("date", "timestamp"):
        try:
            (date if column.type == "date" else datetime).fromisoformat(value)
        except (ValueError, TypeError):
            refuse(path, at, value, f"an ISO 8601 {column.type}")
    return value


def _reference(path: Path, relation: dict[str, Any], column: str, at: Place) -> RowRule:
    """The rule that a value stands in a column of another table."""
    target = str(relation["to"] or "")
    table_name, _, target_column = target.rpartition(".")
    try:
        table = TableId.parse(table_name.replace(".", "/"))
    except NotFoundError:
        refuse(path, [*at, "to"], target, "zone.domain.table.column")
    custom = custom_properties(path, relation, [*at, "customProperties"], _REFERENCE_PROPERTIES)
    level = severity(path, custom.get("severity"), [*at, "customProperties", "severity"])
    reason = str(custom.get("reason") or "")
    return RowRule(f"{column}_in_{table.table}", "reference", column, level, (table, target_column), reason)
