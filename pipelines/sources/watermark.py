"""Watermarks: the cursor value up to which a source was read, and how far before it late rows are searched for."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
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
