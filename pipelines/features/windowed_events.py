"""Windowed features of one entity from its events: after a pushed event, or at the instant of a request."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.errors import TerminalError
from pipelines.features.aggregates import INTEGERS, Aggregate
from pipelines.features.declaration import EVENT_TIMESTAMP
from pipelines.features.windowed import Windowed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
BIGINT = 1 << 63
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Event:
    """An event, its place among the others, and from when it counts, seconds since 1970."""

    place: tuple[Any, ...]
    counts: int
    values: Values

    def has(self, aggregate: Aggregate) -> bool:
        return aggregate.column is None or self.values[aggregate.column] is not None


def row_at(declared: Windowed, events: Iterable[Values], at: datetime) -> dict[str, Any] | None:
    """The row of the table that holds at an instant, computed from events alone; None before the first one counts.

    Args:
        declared: The features.
        events: The events of one entity, in any order, each with the columns of the declaration. Of those with one key
            the last given counts.
        at: The instant, UTC.

    Raises:
        TerminalError: for a total beyond 64 bits.
    """
    now = (at - EPOCH) // SECOND
    known = [event for event in _ordered(declared, events) if event.counts <= now]
    if not known:
        return None
    changes = [event.counts + later for event in known for later in (0, *declared.leaving_seconds)]
    changed = max(change for change in changes if change <= now)
    keys = {key: known[-1].values[key] for key in declared.keys}
    features = {name: _feature(declared, name, known, changed) for name in declared.features}
    return {**keys, **features, EVENT_TIMESTAMP: EPOCH + changed * SECOND}


def still_needed(declared: Windowed, events: Iterable[Values], at: datetime) -> list[Values]:
    """Those of an entity's events on which its row at the instant or later may depend, each once, in their order.

    Any other event may still come before or between them: what is left out is out of all windows for good.
    """
    now = (at - EPOCH) // SECOND
    ordered = _ordered(declared, events)
    past = [event for event in ordered if event.counts <= now]
    needed = {event.place for event in (*ordered[len(past) :], *past[-1:])}
    for seconds in declared.leaving_seconds:
        left = [event for event in past if event.counts + seconds <= now]
        needed |= {event.place for event in (*past[len(left) :], *left[-1:])}  # the last leaving is the row's instant
    for aggregate in declared.features.values():
        counted = [event for event in past if event.has(aggregate)]
        if aggregate.events:
            counted = counted[-aggregate.events :]
        elif aggregate.seconds:
            counted = [event for event in counted if event.counts > past[-1].counts - aggregate.seconds]
        needed |= {event.place for event in counted}
    return [event.values for event in ordered if event.place in needed]


def _ordered(declared: Windowed, events: Iterable[Values]) -> list[_Event]:
    """The events with key and instant by their order; of those with one identity the last given."""
    placed = {}
    for values in events:
        at = values[declared.at]
        if at is None or any(values[key] is None for key in declared.keys):
            continue
        if not isinstance(at, datetime):
            at = datetime.combine(at, datetime.min.time(), UTC)
        instant = (at - EPOCH) // MICROSECOND
        tick = declared.tick // MICROSECOND
        whole = instant // tick if declared.counts == "after" else (instant - 1) // tick
        identity = tuple(values[name] for name in declared.events.key_columns) or (len(placed),)
        placed[identity] = _Event((instant, *identity), (whole + 1) * declared.tick_seconds, values)
    return sorted(placed.values(), key=lambda event: event.place)


def _feature(declared: Windowed, name: str, known: Sequence[_Event], at: int) -> Any:
    """One feature at a tick, seconds since 1970, of events that count by then, in their order."""
    aggregate = declared.features[name]
    counted = [event for event in known if event.has(aggregate)]
    if aggregate.events:
        counted = counted[-aggregate.events :]
    if aggregate.kind == "last" and len(counted) < aggregate.place:
        return None
    if aggregate.seconds:
        counted = [event for event in counted if event.counts > at - aggregate.seconds]
    if aggregate.kind == "count":
        return len(counted)
    values = [event.values[str(aggregate.column)] for event in counted]
    if aggregate.kind == "last":
        return values[-aggregate.place] if len(values) >= aggregate.place else None
    if declared.events.column(str(aggregate.column)).type in INTEGERS:
        added: float = sum(values)
    else:
        added = _sum(values)
    if aggregate.kind == "mean":
        return float(added) / len(values) if values else None
    return _bigint(declared, name, added) if isinstance(added, int) else added


def _sum(values: Sequence[float]) -> float:
    """The exact sum, rounded once; what adding gives where infinities are among the values or on the way."""
    try:
        return math.fsum(values)  # of decimals too
    except (OverflowError, ValueError):
        return sum(map(float, values))


def _bigint(declared: Windowed, name: str, added: int) -> int:
    if not -BIGINT <= added < BIGINT:
        raise TerminalError(
            object=f"feature {name} of {declared.table.table}",
            observed=f"a total of {added}",
            expected="a bigint, of 64 bits",
            next_step="sum the column as a double",
        )
    return added
