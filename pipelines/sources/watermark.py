"""Watermarks: the cursor value up to which a source was read, and how far before it late rows are searched for.

A watermark never lies in the future: a row whose instant is further ahead than late rows are searched for would hide
all rows until then. Such rows land, and the watermark stays before them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipelines.errors import LandingError

Lateness = timedelta | int

_TEXT = re.compile(r"(\d{4}-\d\d-\d\d)(?:([T ])(\d\d:\d\d:\d\d).*)?", re.DOTALL)


def earlier(value: Any, lateness: Lateness, *, cursor: str) -> Any:
    """The value from which rows are read again: a watermark minus `lateness`, in the watermark's own form.

    A timestamp that is text is returned without fraction and offset, so that as text it sorts before every value of its
    second. A date is the same date unless whole days are subtracted.

    Args:
        value: The watermark: a number, a date, a timestamp, or a timestamp as ISO 8601 text.
        lateness: A time span, for numbers a number; with zero the watermark itself is returned.
        cursor: The name of the cursor in an error.

    Raises:
        LandingError: if `lateness` cannot be subtracted from the value.
    """
    if not lateness:
        return value
    try:
        if not isinstance(value, str):
            return value - lateness
        match = _TEXT.fullmatch(value)
        if match and isinstance(lateness, timedelta):
            day, separator, time = match.groups()
            if separator is None:
                return (date.fromisoformat(day) - lateness).isoformat()
            return (datetime.fromisoformat(f"{day}T{time}") - lateness).isoformat(separator, "seconds")
    except (TypeError, ValueError):
        pass
    raise LandingError(
        object=cursor,
        observed=f"{type(value).__name__} {value!r}, from which {lateness!r} cannot be subtracted",
        expected="a timestamp with a lateness that is a time span, or a number with one that is a number",
        next_step="declare the source's lateness in the cursor's unit, or 0 if nothing is ever committed late",
    )


def moment(value: Any) -> datetime | None:
    """The instant that a cursor value names, UTC unless it has an offset; None if it is no date and no timestamp."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if _TEXT.fullmatch(value) else None
        except ValueError:
            return None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        return None
    try:
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # in UTC beyond the calendar
        return datetime.max.replace(tzinfo=UTC) if value.year > 5000 else datetime.min.replace(tzinfo=UTC)


def is_ahead(value: Any, lateness: Lateness, *, now: datetime) -> bool:
    """Whether a cursor value lies further in the future than late rows are searched for.

    Args:
        value: The cursor value; a number is never ahead.
        lateness: As for `earlier`.
        now: The platform's time, UTC. During a replay of recorded data the wall clock counts, if that is later.
    """
    at = moment(value)
    tolerance = lateness if isinstance(lateness, timedelta) else timedelta(0)
    return at is not None and at - tolerance > max(now, datetime.now(UTC))


def latest(values: Sequence[Any], *, cursor: str) -> Any:
    """The newest of some cursor values, timestamps compared as instants; None of none.

    Raises:
        LandingError: if some are timestamps and others are not, or numbers and texts are mixed.
    """
    if not values:
        return None
    moments = [moment(value) for value in values]
    if all(moments):
        return max(zip(moments, values, strict=True), key=lambda pair: pair[0])[1]
    if not any(moments) and len({isinstance(value, str) for value in values}) == 1:
        return max(values)
    raise LandingError(
        object=cursor,
        observed=f"values that have no common order: {', '.join(sorted({repr(value) for value in values})[:4])}",
        expected="only ISO 8601 timestamps, only numbers, or only texts of another form",
        next_step="correct them in the source, or name another cursor in the source's declaration",
    )
