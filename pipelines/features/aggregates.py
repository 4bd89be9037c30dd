"""What an entity's events are summed up to: how many, their total, their mean, the values of the last ones.

An aggregate of a column looks at the events in which the column is not null: a null says nothing. Its window is a span
of time, a number of events, or all events so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

#: A span of time, a number of events, or (None) all events so far.
Span = timedelta | int | None
#: The types of columns that are added exactly, as integers; booleans count as 0 and 1. Others are added as doubles.
INTEGERS = ("int", "bigint", "boolean")
NUMBERS = (*INTEGERS, "float", "double", "decimal")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One feature over a window of an entity's events.

    Attributes:
        kind: `count` events, the `total` or `mean` of a column, or the value of a `last` event.
        column: The events' column; None counts the events themselves.
        span: The window.
        place: Of `last`: 1 is the newest event, 2 the one before.
    """

    kind: Literal["count", "total", "mean", "last"]
    column: str | None
    span: Span
    place: int = 1

    @property
    def seconds(self) -> int | None:
        """The length of a window of time; None for another window."""
        return int(self.span.total_seconds()) if isinstance(self.span, timedelta) else None

    @property
    def events(self) -> int | None:
        """The length of a window of events, for `last` up to the event that it takes; None for another window."""
        if self.kind == "last":
            return self.place
        return self.span if isinstance(self.span, int) else None

    def wrong(self) -> str | None:
        """What is wrong with the column or the window; None if nothing is."""
        span = self.span
        if self.column is not None and not isinstance(self.column, str):
            return f"column {self.column!r}, and not the name of a column"
        if not (span is None or isinstance(span, timedelta) or (type(span) is int and self.kind != "last")):
            return f"a window of {span!r}, and not a timedelta" + (
                "" if self.kind == "last" else " or a number of events"
            )
        if type(self.place) is not int:
            return f"the last event number {self.place!r}, and not a whole number"
        if isinstance(span, timedelta) and (span <= timedelta(0) or span % timedelta(seconds=1)):
            return f"a window of {span}, and not of one or more whole seconds"
        if isinstance(span, int) and span < 1:
            return f"a window of {span} events"
        return f"the last event number {self.place}" if self.place < 1 else None

    def type_of(self, column_type: str | None) -> str | None:
        """The type of the feature, from the type of its column; None where the column cannot be summed up so."""
        if self.kind == "count":
            return "bigint"
        if self.kind == "last":
            return column_type
        if column_type is None or column_type.partition("(")[0] not in NUMBERS:
            return None
        return "bigint" if self.kind == "total" and column_type in INTEGERS else "double"


def count(column: str | None = None, *, last: Span = None) -> Aggregate:
    """How many events, or how many in which the column is not null; 0 for none."""
    return Aggregate("count", column, last)


def total(column: str, *, last: Span = None) -> Aggregate:
    """The sum of a column, 0 for no events: exact for integers, for booleans the number of true."""
    return Aggregate("total", column, last)


def mean(column: str, *, last: Span = None) -> Aggregate:
    """The mean of a column, null for no events; for booleans the share of true."""
    return Aggregate("mean", column, last)


def last(column: str, place: int = 1, *, within: timedelta | None = None) -> Aggregate:
    """The column's value in the newest event, or in the one that is `place` - 1 events before; null for none.

    Args:
        column: The column, of any type that a feature may have.
        place: 1 is the newest event in which the column is not null, 2 the one before.
        within: An event counts no longer than this; None sets no limit.
    """
    return Aggregate("last", column, within, place)
