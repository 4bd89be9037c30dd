"""The windows of recipes that select by instants."""

from __future__ import annotations

from pipelines.models.program import Part, Window


def instants(part: Part) -> Window:
    """The part of a training set, which is a window of instants."""
    assert isinstance(part, Window)
    return part
