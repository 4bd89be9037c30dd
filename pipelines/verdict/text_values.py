"""Which texts are values of which type: one grammar for both engines, whose own casts accept different texts.

A text outside the grammar is not a value: `2013` is not a date, `5.0` not an integer, `04:05` not a timestamp, `1e3`
not a decimal. Space around a value does not count. Dates lie in the years 1000 to 9999, in UTC too, and have to exist.
A timestamp without an offset is UTC, or local clock time if the column has a time zone; digits below microseconds are
cut off. An offset is `Z`, `UTC`, `+02`, `+0200` or `+02:00`, with a space before it or without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.contracts.model import Column as ContractColumn
from pipelines.engine.session import Kind

if TYPE_CHECKING:
    from pyspark.sql import Column

#: The characters that count as space around a value.
SPACE = " \t\r\n\f"
_PADDING = r"[ \t\r\n\f]*"
_DAY = "[1-9][0-9]{3}-[0-9]{1,2}-[0-9]{1,2}"
_CLOCK = r"[ Tt][0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
_OFFSET = " ?([Zz]|(?i:utc)|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
#: How many zeros a decimal may have after the digits of its scale.
_ZEROS = 30
_NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_GRAMMARS = {
    "int": "[+-]?[0-9]+",
    "bigint": "[+-]?[0-9]+",
    "double": _NUMBER,
    "float": _NUMBER,
    "boolean": "(?i:true|false|t|f|yes|no|y|n|1|0)",
    "date": _DAY,
    "timestamp": f"{_DAY}({_CLOCK}({_OFFSET})?)?",
}

#: Texts of timestamps in upper case, and what to write instead so that both engines' casts read the offset.
_OFFSETS = (
    (r" ?(Z|UTC)\z", "+00:00"),
    (r"(:[0-9]{2}(\.[0-9]+)?) ?([+-][0-9]{2}):?([0-9]{2})\z", "$1$3:$4"),
    (r"(:[0-9]{2}(\.[0-9]+)?) ?([+-][0-9]{2})\z", "$1$3:00"),
    (r"([ T][0-9]{1,2}:[0-9]{2})([+-])", "$1:00$2"),
)
#: The first year, in UTC, and the first and the last timestamp.
FIRST_YEAR = 1000
_FIRST, _LAST = f"{FIRST_YEAR}-01-01 00:00:00", "9999-12-31 23:59:59.999999"

#: The most frequent forms of dates and timestamps, with 0 for each digit. All of them are in the grammar, and to
#: compare a text with them is faster than to match the regular expression.
SHAPES = {
    "date": ("0000-00-00",),
    "timestamp": ("0000-00-00T00:00:00Z", "0000-00-00 00:00:00", "0000-00-00T00:00:00", "0000-00-00"),
}

#: The types for which an engine's own cast accepts exactly the texts of the grammar, so that one pass is enough.
EXACT_CASTS: Mapping[Kind, tuple[str, ...]] = {"embedded": ("int", "bigint"), "spark": ()}
#: A decimal of at most so many digits is the one next to the double of its text: times ten to the power of its scale,
#: the double is off by less than a quarter. The embedded engine takes a quarter of the time for that.
DIGITS_OF_DOUBLE = 15


@dataclass(frozen=True, slots=True)
class Reading:
    """A text column read as values of a type.

    Attributes:
        value: The value; null where the text is null or not a value of the type. Of a time that the clocks show twice,
            the earlier instant; of one that they skipped, an instant that does not count.
        nonexistent: True where the clocks of the column's time zone skipped the time; None without a time zone.
    """

    value: Column
    nonexistent: Column | None = None


def grammar(column: ContractColumn) -> str:
    """The regular expression, for both engines, of the texts that are values of a column."""
    if column.type.startswith("decimal"):
        _, scale = _digits_and_scale(column)
        # More digits than the scale would be rounded away; zeros at the end would not, but engines count them.
        zeros = rf"0{{0,{_ZEROS}}}"
        fraction = rf"(\.[0-9]{{0,{scale}}}{zeros})?" if scale else rf"(\.{zeros})?"
        pattern = rf"[+-]?[0-9]+{fraction}" + (rf"|[+-]?\.[0-9]{{1,{scale}}}{zeros}" if scale else "")
    elif column.type == "timestamp" and column.timezone:
        pattern = f"{_DAY}({_CLOCK})?"
    else:
        pattern = _GRAMMARS[column.type]
    if column.non_finite == "allowed" and column.type in ("double", "float"):
        pattern += "|(?i:nan|[+-]?inf|[+-]?infinity)"
    return rf"^{_PADDING}({pattern}){_PADDING}\z"


def _digits_and_scale(column: ContractColumn) -> tuple[int, int]:
    """Of a decimal type, how many digits its values have at most, and how many of these follow the point."""
    digits, _, scale = column.type.removeprefix("decimal(").removesuffix(")").partition(",")
    return int(digits), int(scale)


def _cast(text: Column, column: ContractColumn, engine: Kind | None) -> Column:
    """The texts of the grammar as values; null for others, and for texts of the grammar that name no value."""
    from pyspark.sql import functions as F

    trimmed = F.trim(text, F.lit(SPACE))
    shapes = [shape for shape in SHAPES.get(column.type, ()) if not (column.timezone and shape.endswith("Z"))]
    plain = trimmed
    if column.type == "timestamp":
        plain = F.upper(trimmed)
    if column.type == "timestamp" and not column.timezone:
        for pattern, replacement in _OFFSETS:
            plain = F.regexp_replace(plain, pattern, replacement)
    if column.type.startswith("decimal") and engine == "embedded" and _digits_and_scale(column)[0] <= DIGITS_OF_DOUBLE:
        plain = plain.try_cast("double")
    value = F.when(text.rlike(grammar(column)), plain.try_cast(column.type))
    if shapes:
        # A year of the grammar begins with 1 to 9, not with 0.
        is_shape = F.translate(text, "0123456789", "0" * 10).isin(*shapes) & (text >= "1")
        value = F.when(is_shape, text.try_cast(column.type)).otherwise(value)
    return value


def read(text: Column, column: ContractColumn, engine: Kind | None = None) -> Reading:
    """Reads texts as values of a column's type.

    Args:
        text: The texts.
        column: The contract's column.
        engine: The engine that computes them, if known: the result is the same, and takes less time.
    """
    from pyspark.sql import functions as F

    if column.type == "string":
        return Reading(text)
    is_exact = engine and column.type in EXACT_CASTS[engine]
    value = text.try_cast(column.type) if is_exact else _cast(text, column, engine)
    if column.type in ("double", "float") and column.non_finite == "refused":
        value = F.when(F.abs(value) < F.lit(float("inf")), value)  # 1e400 is infinite
    if column.type != "timestamp":
        return Reading(value)
    if not column.timezone:
        return Reading(_within_calendar(value))
    zone = F.lit(column.timezone)
    instant = F.to_utc_timestamp(value, zone)
    # The engines shift a local time that does not exist, so converting the instant back gives another local time.
    nonexistent = F.coalesce(F.from_utc_timestamp(instant, zone) != value, F.lit(False))
    return Reading(_within_calendar(instant), nonexistent)


def _within_calendar(instant: Column) -> Column:
    """Null for an instant that an offset or a time zone moves out of the years that readers can show."""
    from pyspark.sql import functions as F

    return F.when(instant.between(*(F.lit(bound).cast("timestamp") for bound in (_FIRST, _LAST))), instant)
