"""Which texts are values of which type: one grammar for both engines, whose own casts differ in what they let pass.

A text outside the grammar is no value: `2013` is no date, `5.0` no integer, `04:05` no timestamp, `1e3` no decimal.
Space around a value is no part of it. Dates lie in the years 1000 to 9999 and have to exist; a timestamp without an
offset is UTC, or local clock text where the column names a time zone; digits below microseconds are cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.contracts.model import Column as ContractColumn
from pipelines.engine.session import Kind

if TYPE_CHECKING:
    from pyspark.sql import Column

SPACE = " \t\r\n\f"
_AROUND = r"[ \t\r\n\f]*"
_DAY = "[1-9][0-9]{3}-[0-9]{1,2}-[0-9]{1,2}"
_CLOCK = r"[ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
_NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_GRAMMARS = {
    "int": "[+-]?[0-9]+",
    "bigint": "[+-]?[0-9]+",
    "double": _NUMBER,
    "float": _NUMBER,
    "boolean": "(?i:true|false|t|f|yes|no|y|n|1|0)",
    "date": _DAY,
    "timestamp": f"{_DAY}({_CLOCK}(Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?",
}


#: What most dates and instants look like, digit for digit: a text of such a shape is seen to be in the grammar sooner.
SHAPES = {
    "date": ("0000-00-00",),
    "timestamp": ("0000-00-00T00:00:00Z", "0000-00-00 00:00:00", "0000-00-00T00:00:00", "0000-00-00"),
}

#: Where an engine's own cast lets through just what the grammar does, reading a text twice would be for nothing.
EXACT: Mapping[Kind, tuple[str, ...]] = {"embedded": ("int", "bigint"), "spark": ()}


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as a value, null where it is none: `wrong` for its type, or `skipped` by the clocks of its zone.

    An ambiguous time, in the hour that clocks show twice, is read as the earlier of the two instants.
    """

    value: Column
    wrong: Column
    skipped: Column | None = None


def grammar(column: ContractColumn) -> str:
    """The regular expression of a column's texts, in what both engines understand."""
    if column.type.startswith("decimal"):
        scale = int(column.type.removesuffix(")").rpartition(",")[2])
        # More digits than the scale would be rounded away; zeros at the end would not.
        fraction = rf"(\.[0-9]{{0,{scale}}}0*)?" if scale else r"(\.0*)?"
        words = rf"[+-]?[0-9]+{fraction}" + (rf"|[+-]?\.[0-9]{{1,{scale}}}0*" if scale else "")
    elif column.type == "timestamp" and column.timezone:
        words = f"{_DAY}({_CLOCK})?"
    else:
        words = _GRAMMARS[column.type]
    if column.non_finite == "allowed" and column.type in ("double", "float"):
        words += "|(?i:nan|[+-]?inf|[+-]?infinity)"
    return rf"^{_AROUND}({words}){_AROUND}\z"


def _is_in_grammar(text: Column, column: ContractColumn) -> Column:
    from pyspark.sql import functions as F

    found = text.rlike(grammar(column))
    shapes = [shape for shape in SHAPES.get(column.type, ()) if not (column.timezone and shape.endswith("Z"))]
    if not shapes:
        return found
    return F.translate(text, "0123456789", "0" * 10).isin(*shapes) & (text >= "1") | found


def read(text: Column, column: ContractColumn, engine: Kind | None = None) -> Reading:
    """The text as the column's type; the engine that computes it may be named, which is faster and gives the same."""
    from pyspark.sql import functions as F

    if column.type == "string":
        return Reading(text, F.lit(False))
    if engine and column.type in EXACT[engine]:
        value = text.try_cast(column.type)
    else:
        value = F.when(_is_in_grammar(text, column), F.trim(text, F.lit(SPACE)).try_cast(column.type))
    if column.type in ("double", "float") and column.non_finite == "refused":
        value = F.when(F.abs(value) < F.lit(float("inf")), value)  # 1e400 is infinite
    if not column.timezone:
        return Reading(value, text.isNotNull() & value.isNull())
    zone = F.lit(column.timezone)
    instant = F.to_utc_timestamp(value, zone)
    # Engines move a time that the clocks skipped; then the way back does not lead to it.
    skipped = F.coalesce(F.from_utc_timestamp(instant, zone) != value, F.lit(False))
    return Reading(F.when(~skipped, instant), text.isNotNull() & value.isNull(), skipped)
