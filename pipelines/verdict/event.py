"""Judges one event by a silver contract without an engine, so that a server can answer while the sender waits.

The check never accepts what silver would reject: an accepted event is clean in silver, with the same values. Both read
the same texts as values (`text_values`); a JSON number or boolean is the text that lands. A list or an object is
rejected here, and judged by silver alone, as are local times of a time zone, whose data may differ in age.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from pipelines.contracts.model import Column, Contract, MaskKind, RowRule
from pipelines.contracts.patterns import portable
from pipelines.errors import DefinitionError
from pipelines.verdict import masking, text_values

#: Bits of an integer type's magnitude.
_BITS = {"int": 31, "bigint": 63}
#: The parts of a timestamp that is in the grammar.
_TIMESTAMP = re.compile(
    r"(?P<day>[-0-9]+)([ Tt](?P<clock>[0-9:]+)(\.(?P<fraction>[0-9]+))?"
    r" ?((?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})?|[A-Za-z]+)?)?"
)
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
    """Checks that `check` can judge every `error` rule of a silver contract, and read its columns.

    Raises:
        DefinitionError: naming an `error` rule that needs other rows, another table or an engine, or a time zone.
    """
    sent = {column.name: column for column in contract.columns if column.source and column.timezone is None}
    for rule in contract.row_rules:
        column = sent.get(rule.column)
        is_date_range = column is not None and rule.kind == "range" and column.type in ("date", "timestamp")
        judgeable = column is not None and rule.kind in JUDGED and not is_date_range
        needs_judging = (rule.severity == "error" and rule.kind not in ACROSS_ROWS) or rule.kind == "clock"
        if needs_judging and not judgeable:
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
    mask = masking.kinds(contract)
    rules: dict[str, list[RowRule]] = {}
    for rule in contract.row_rules:
        if rule.severity == "error":
            rules.setdefault(rule.column, []).append(rule)
    for column in contract.columns:
        if column.source is None:
            continue
        sent = event.get(column.source)
        text = _text(sent)
        sent = None if text in (*contract.null_tokens, *column.null_tokens) else sent
        if column.mask and text is not None and sent is not None:
            sent = text = masking.masked_text(text, column.mask)
        value = None if sent is None or text is None else _typed(text, column)
        values[column.name] = value
        if sent is not None and value is None:
            # A text column has no type rule, but a value that is neither text nor a number breaks its type too.
            broken.append(BrokenRule(f"{column.name}_type", column.name, _shown(sent, mask)))
            continue
        broken += [
            BrokenRule(rule.name, column.name, _shown(sent, mask))
            for rule in rules.get(column.name, [])
            if not _holds(rule, value)
        ]
    if contract.drift["columns"] == "discard_row":
        known = {column.source for column in contract.columns}
        broken += [BrokenRule("unknown_column", name, _shown(event[name], mask)) for name in event if name not in known]
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
            return re.search(_python(portable(rule.argument)), value) is not None
        case _:
            return True


def _text(sent: Any) -> str | None:
    """The text that lands for a value of JSON, or None for one that has none here."""
    if isinstance(sent, str):
        return sent
    return json.dumps(sent) if isinstance(sent, int | float) and math.isfinite(sent) else None


def _python(pattern: str) -> str:
    """A regular expression of the engines in Python's dialect."""
    return pattern.replace(r"\z", r"\Z")


def _typed(text: str, column: Column) -> Any:
    """The value of a text in a column's type; None if it is not one."""
    if column.type == "string":
        return text
    if re.match(_python(text_values.grammar(column)), text) is None:
        return None
    text = text.strip(text_values.SPACE)
    try:
        match column.type:
            case "int" | "bigint":
                limit = 1 << _BITS[column.type]
                return number if -limit <= (number := int(text)) < limit else None
            case "double" | "float":
                return _floating(text, column)
            case "boolean":
                return text.lower() in ("true", "t", "yes", "y", "1")
            case "date":
                return date(*map(int, text.split("-")))
            case "timestamp":
                return _instant(text)
            case _:
                return _decimal(text, column.type)
    except (ValueError, OverflowError, InvalidOperation):  # 2013-02-30
        return None


def _floating(text: str, column: Column) -> float | None:
    import pyarrow as pa

    # By way of a double, a float would be rounded twice.
    number = float(text) if column.type == "double" else pa.scalar(text).cast(pa.float32()).as_py()
    return number if math.isfinite(number) or column.non_finite == "allowed" else None


def _decimal(text: str, sql_type: str) -> Decimal | None:
    precision, scale = map(int, sql_type[len("decimal(") : -1].split(","))
    digits = Context(prec=76)
    number = digits.add(Decimal(0), digits.quantize(Decimal(text), Decimal(1).scaleb(-scale)))  # -0 is 0
    return number if abs(number) < Decimal(10) ** (precision - scale) else None


def _instant(text: str) -> datetime | None:
    """The instant of a text, in UTC; None before the first year that silver takes."""
    parts = _TIMESTAMP.fullmatch(text)
    assert parts is not None
    year, month, day = map(int, parts["day"].split("-"))
    hour, minute, second, *_ = [*map(int, (parts["clock"] or "0").split(":")), 0, 0]
    micros = int((parts["fraction"] or "0").ljust(6, "0")[:6])
    offset = timedelta(hours=int(parts["hours"] or 0), minutes=int(parts["minutes"] or 0))
    instant = datetime(year, month, day, hour, minute, second, micros, UTC)
    instant -= -offset if parts["sign"] == "-" else offset
    return instant if instant.year >= text_values.FIRST_YEAR else None


def _shown(sent: Any, mask: tuple[MaskKind, ...]) -> str:
    text = masking.masked_text(repr(sent), mask)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
