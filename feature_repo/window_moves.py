"""Moves windowed features by pushed events: computes an entity's row anew from its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from feature_repo.kept_events import PENDING, Entity, KeptEvents
from pipelines.features.declaration import EVENT_TIMESTAMP
from pipelines.features.windowed import Windowed
from pipelines.features.windowed_events import Values, row_at, still_needed

#: `unchanged`: the store held this event, or its row stays as it is. `ahead`: the event is later than the platform's
#: time; it is kept, and counts when its instant has come.
Moved = Literal["moved", "unchanged", "ahead"]


def move_windows(
    declared: Windowed, kept: KeptEvents, known: Mapping[Entity, Values], events: Sequence[Values], now: datetime
) -> tuple[list[Moved], dict[Entity, Values]]:
    """Adds pushed events to those that are kept.

    Args:
        declared: The features.
        kept: The events so far.
        known: The stored row of each entity that has one.
        events: The pushed events, which fit their contract, in any order and any of them again.
        now: The platform's time.

    Returns:
        The outcome of each event, and the rows that have changed.
    """
    entities = [tuple(event[key] for key in declared.keys) for event in events]
    so_far = kept.of(list(dict.fromkeys(entities)), now)
    pushed: dict[Entity, list[Values]] = {}
    for entity, event in zip(entities, events, strict=True):
        pushed.setdefault(entity, []).append({**event, PENDING: True})
    after = {entity: [*new, *so_far[entity]] for entity, new in pushed.items()}  # the table's form of an event counts
    rows = {entity: row_at(declared, events, now) for entity, events in after.items()}
    changed = {
        entity: row
        for entity, computed in rows.items()
        if computed is not None and (row := _not_before(declared, computed, known.get(entity))) != known.get(entity)
    }
    kept.keep({entity: still_needed(declared, events, now) for entity, events in after.items()})
    outcomes: list[Moved] = [
        "ahead" if event[declared.at] > now else "moved" if entity in changed else "unchanged"
        for entity, event in zip(entities, events, strict=True)
    ]
    return outcomes, changed


def _not_before(declared: Windowed, row: Values, known: Values | None) -> Values:
    """What the view holds of a row; an event that came late does not put its instant back."""
    stored = {name: row[name] for name in (*declared.view.fields, EVENT_TIMESTAMP)}
    if known is not None:
        stored[EVENT_TIMESTAMP] = max(row[EVENT_TIMESTAMP], known[EVENT_TIMESTAMP])
    return stored
