"""One event against a silver contract, without an engine, so that a server can judge it while its sender waits.

The door is no more lenient than silver: what passes here is clean there, with the same values. It is stricter in form;
it takes a number only as a number and an instant only with its offset, and leaves the doubtful to silver.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from pipelines.contracts.model import Contract, RowRule
from pipelines.errors import DefinitionError

_INTEGER = re.compile(r"-?\d{1,19}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_BITS = {"int": 31, "bigint": 63}
SHOWN = 80
JUDGED = ("required", "type", "range", "length", "set", "pattern")
#: They tell a row from others with its key: for the events of a source, by their ids, its log has done that.
ACROSS_ROWS = ("duplicate", "variant")


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that an event breaks; `code` is the reason that quarantine will give for it."""

    code: str
    column: str
    observed: str


def require_judgeable(contract: Contract) -> None:
    """Raises DefinitionError if the contract has an `error` rule that only the whole table or an engine can judge."""
    brought = {column.name: column for column in contract.columns if column.source and column.timezone is None}
    for rule in contract.row_rules:
        column = brought.get(rule.column)
        told = rule.kind in JUDGED and column and not (rule.kind == "range" and column.type in ("date", "timestamp"))
        if rule.severity == "error" and rule.kind not in ACROSS_ROWS and not told:
            raise DefinitionError(
                object=f"rule {rule.name} of {contract.table}",
                observed="an error rule that one event alone does not tell",
                expected=f"rules of these kinds, of columns that the event brings: {', '.join(JUDGED)}",
                next_step="make it a warning, or let the source move no features",
            )


def check(event: Mapping[str, Any], contract: Contract) -> tuple[dict[str, Any], list[Broken]]:
    """The event's values by silver column, in the contract's types, and the `error` rules that they break."""
    values: dict[str, Any] = {}
    broken: list[Broken] = []
    rules: dict[str, list[RowRule]] = {}
    for rule in contract.row_rules:
        if rule.severity == "error":
            rules.setdefault(rule.column, []).append(rule)
    for column in contract.columns:
        if column.source is None:
            continue
        given = event.get(column.source)
        given = None if given in contract.null_tokens else given
        value = None if given is None else _typed(given, column.type)
        values[column.name] = value
        if given is not None and value is None:
            # A text has no type rule: what is neither text nor number is refused all the same.
            broken += [Broken(f"{column.name}_type", column.name, _shown(given))]
            continue
        broken += [
            Broken(rule.name, column.name, _shown(given))
            for rule in rules.get(column.name, [])
            if not _holds(rule, value)
        ]
    if contract.drift["columns"] == "discard_row":
        known = {column.source for column in contract.columns}
        broken += [Broken("unknown_column", name, _shown(event[name])) for name in event if name not in known]
    return values, broken


def _holds(rule: RowRule, value: Any) -> bool:
    if value is None:
        return rule.kind != "required"
    match rule.kind:
        case "range":
            return rule.argument.hold(value)
        case "length":
            return rule.argument.hold(len(value))
        case "set":
            return value in rule.argument
        case "pattern":
            return re.search(rule.argument, value) is not None
        case _:
            return True


def _typed(given: Any, kind: str) -> Any:
    """The value in a SQL type; None where it does not fit."""
    if isinstance(given, bool):
        return given if kind == "boolean" else None
    try:
        match kind:
            case "string":
                return str(given) if isinstance(given, str | int) else None
            case "int" | "bigint":
                whole = isinstance(given, int) or (isinstance(given, str) and _INTEGER.fullmatch(given))
                number = int(given) if whole else None
                return number if number is not None and -(1 << _BITS[kind]) <= number < 1 << _BITS[kind] else None
            case "double" | "float":
                number = float(given) if isinstance(given, int | float) else math.nan
                return number if math.isfinite(number) else None
            case "date":
                return date.fromisoformat(given) if isinstance(given, str) and _DAY.fullmatch(given) else None
            case "timestamp":
                fits = isinstance(given, str) and _INSTANT.fullmatch(given)
                return datetime.fromisoformat(given).astimezone(UTC) if fits else None
            case _:
                return None
    except (ValueError, OverflowError):  # 2013-02-30
        return None


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
