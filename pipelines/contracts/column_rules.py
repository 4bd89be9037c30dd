"""Reads the row rules that follow from a column's own properties: its type, `required`, limits, `enum`, references."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipelines.contracts.columns import COLUMN_PROPERTIES
from pipelines.contracts.model import Bounds, Column, Drift, RowRule, Severity
from pipelines.contracts.nodes import Place, custom_properties, number, refuse, require_pattern, severity, text
from pipelines.errors import NotFoundError
from pipelines.tables import TableId, Zone

_REFERENCE_PROPERTIES = ("severity", "reason")
#: Options of a logical type, with the field of `Bounds` that each sets.
LIMITS = {"minimum": "minimum", "maximum": "maximum", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
LENGTHS = {"minLength": "minimum", "maxLength": "maximum"}
_OPTIONS = (*LIMITS, *LENGTHS, "pattern")


def column_rules(
    path: Path, node: dict[str, Any], column: Column, at: Place, *, zone: Zone, data_type_drift: Drift | None
) -> list[RowRule]:
    """The row rules of one column.

    Args:
        path: The contract file, for errors.
        node: The column's node in the file.
        column: The column that was read from it.
        at: The node's place in the file.
        zone: The table's zone.
        data_type_drift: How the table treats a text that the column's type cannot hold; None where nothing is cast, as
            in bronze and in gold.

    Raises:
        ContractError: if an option, a limit, a pattern, a severity or a reference is not valid.
    """
    name, options = column.name, node["logicalTypeOptions"] or {}
    custom = custom_properties(path, node, [*at, "customProperties"], COLUMN_PROPERTIES[zone])
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
        allowed = tuple(
            _value(path, entry["value"], column, [*at, "enum", position, "value"])
            for position, entry in enumerate(node["enum"])
        )
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
        LIMITS[option]: _value(path, value, column, [*at, option])
        for option, value in options.items()
        if option in LIMITS
    }
    if limits:
        rules.append(RowRule(f"{name}_range", "range", name, level, Bounds(**limits)))
    lengths: dict[str, Any] = {
        LENGTHS[option]: number(path, value, [*at, option], minimum=0)
        for option, value in options.items()
        if option in LENGTHS
    }
    for bounds in (limits, lengths):
        lows, highs = (
            [bounds[n] for n in names if n in bounds] for names in (("minimum", "above"), ("maximum", "below"))
        )
        if lows and highs and max(map(_ordered, lows)) > min(map(_ordered, highs)):
            refuse(path, at, options, "a lower limit that is not above the upper one")
    if lengths:
        rules.append(RowRule(f"{name}_length", "length", name, level, Bounds(**lengths)))
    if options.get("pattern") is not None:
        require_pattern(path, options["pattern"], [*at, "pattern"])
        rules.append(RowRule(f"{name}_pattern", "pattern", name, level, options["pattern"]))
    return rules


def _value(path: Path, value: Any, column: Column, at: Place) -> Any:
    """A value of the column's type as it stands in the file; a date or a timestamp has to be ISO 8601."""
    match column.type.partition("(")[0]:
        case "string":
            return text(path, value, at, "a text, in quotes, as the column's values are")
        case "boolean":
            if not isinstance(value, bool):
                refuse(path, at, value, "true or false")
            return value
        case "date" | "timestamp":
            return _instant(path, value, column, at)
        case _:
            return number(path, value, at)


#: What Spark reads as a date or a timestamp; Python takes more.
_ISO = {
    "date": r"\d{4}-\d{2}-\d{2}",
    "timestamp": r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?",
}


def _instant(path: Path, value: Any, column: Column, at: Place) -> str:
    is_valid = False
    with contextlib.suppress(ValueError, TypeError):
        (date if column.type == "date" else datetime).fromisoformat(value)
        is_valid = re.fullmatch(_ISO[column.type], value, re.ASCII) is not None
    if not is_valid:
        refuse(path, at, value, f"an ISO 8601 {column.type}, in quotes")
    return value


def _ordered(limit: Any) -> Any:
    """A limit as a value that compares with the others of its type."""
    if not isinstance(limit, str):
        return limit
    instant = datetime.fromisoformat(limit)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _reference(path: Path, relation: dict[str, Any], column: str, at: Place) -> RowRule:
    """The rule that a value stands in a column of another table."""
    target = text(path, relation["to"], [*at, "to"], "zone.domain.table.column")
    parts = target.split(".", 3)
    try:
        table = TableId.parse("/".join(parts[:3]))
    except NotFoundError as error:
        refuse(path, [*at, "to"], target, f"zone.domain.table.column: {error.expected}")
    if len(parts) < 4 or not parts[3]:
        refuse(path, [*at, "to"], target, "zone.domain.table.column")
    custom = custom_properties(path, relation, [*at, "customProperties"], _REFERENCE_PROPERTIES)
    level = severity(path, custom.get("severity"), [*at, "customProperties", "severity"])
    reason = text(path, custom.get("reason") or "", [*at, "customProperties", "reason"], "a reason, as text")
    return RowRule(f"{column}_in_{table.table}", "reference", column, level, (table, parts[3]), reason)
