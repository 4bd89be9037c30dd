"""Judges one event by a silver contract without an engine, so that a server can answer while the sender waits.

The check never accepts what silver would reject: an accepted event is clean in silver, with the same values. It rejects
more than silver does: a number has to be a JSON number or the text of an integer, and an instant needs its offset.
Silver decides about the events that are rejected for their form alone.
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
#: Bits of an integer type's magnitude.
_BITS = {"int": 31, "bigint": 63}
_SHOWN_CHARACTERS = 80
#: The kinds of rules that `check` judges an event by.
JUDGED = ("required", "type", "range", "length", "set", "pattern")
#: The kinds that compare a row with others of its key. Events of one source need none of them: its log holds each event
#: id once.
ACROSS_ROWS = ("duplicate", "variant")


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that an event breaks; `code` is the reason code that quarantine uses for it."""

    code: str
    column: str
    observed: str


def require_judgeable(contract: Contract) -> None:
    """Checks that `check` can judge every `error` rule of a silver contract.

    Raises:
        DefinitionError: naming an `error` rule that needs other rows, another table or an engine.
    """
    sent = {column.name: column for column in contract.columns if column.source and column.timezone is None}
    for rule in contract.row_rules:
        column = sent.get(rule.column)
        is_date_range = column is not None and rule.kind == "range" and column.type in ("date", "timestamp")
        judgeable = column is not None and rule.kind in JUDGED and not is_date_range
        if rule.severity == "error" and rule.kind not in ACROSS_ROWS and not judgeable:
            raise DefinitionError(
                object=f"rule {rule.name} of {contract.table}",
                observed="an error rule that one event alone cannot be judged by",
                expected=f"rules of these kinds, about columns that the event brings: {', '.join(JUDGED)}",
                next_step="make it a warning, or declare the source without online features",
            )


def check(event: Mapping[str, Any], contract: Contract) -> tuple[dict[str, Any], list[BrokenRule]]:
    """Judges one event.

    Args:
        event: Its values by bronze column, as JSON gives them.
        contract: The silver contract; `require_judgeable` accepted it.

    Returns:
        The values by silver column, in the contract's types (timestamps in UTC), and the `error` rules that they break.
    """
    values: dict[str, Any] = {}
    broken: list[BrokenRule] = []
    rules: dict[str, list[RowRule]] = {}
    for rule in contract.row_rules:
        if rule.severity == "error":
            rules.setdefault(rule.column, []).append(rule)
    for column in contract.columns:
        if column.source is None:
            continue
        sent = event.get(column.source)
        sent = None if sent in (*contract.null_tokens, *column.null_tokens) else sent
        value = None if sent is None else _typed(sent, column.type)
        values[column.name] = value
        if sent is not None and value is None:
            # A text column has no type rule, but a value that is neither text nor a number breaks its type too.
            broken.append(BrokenRule(f"{column.name}_type", column.name, _shown(sent)))
            continue
        broken += [
            BrokenRule(rule.name, column.name, _shown(sent))
            for rule in rules.get(column.name, [])
            if not _holds(rule, value)
        ]
    if contract.drift["columns"] == "discard_row":
        known = {column.source for column in contract.columns}
        broken += [BrokenRule("unknown_column", name, _shown(event[name])) for name in event if name not in known]
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


def _typed(sent: Any, sql_type: str) -> Any:
    """The value in a SQL type; None if the type cannot hold it."""
    if isinstance(sent, bool):
        return sent if sql_type == "boolean" else None
    try:
        match sql_type:
            case "string":
                return str(sent) if isinstance(sent, str | int) else None
            case "int" | "bigint":
                is_integer = isinstance(sent, int) or (isinstance(sent, str) and _INTEGER.fullmatch(sent))
                number = int(sent) if is_integer else None
                limit = 1 << _BITS[sql_type]
                return number if number is not None and -limit <= number < limit else None
            case "double" | "float":
                number = float(sent) if isinstance(sent, int | float) else math.nan
                return number if math.isfinite(number) else None
            case "date":
                return date.fromisoformat(sent) if isinstance(sent, str) and _DAY.fullmatch(sent) else None
            case "timestamp":
                is_instant = isinstance(sent, str) and _INSTANT.fullmatch(sent)
                return datetime.fromisoformat(sent).astimezone(UTC) if is_instant else None
            case _:
                return None
    except (ValueError, OverflowError):  # 2013-02-30
        return None


def _shown(sent: Any) -> str:
    text = repr(sent)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
