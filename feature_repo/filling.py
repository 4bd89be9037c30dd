"""Fills the online store of one domain: moves it to what its tables held at an instant."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feature_repo.state import DomainStore, State
from feature_repo.store import holds_rows, mark_filled, open_generation, remove_other_generations
from feature_repo.unfinished import Filling, begun, unfinished
from pipelines.errors import SettingsError
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureService, FeatureView, qualified, stored_views

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: How many tables are read at once.
AT_ONCE = 3
#: How rows are stored (`stored_row`): a store with rows of another form is filled anew.
ROW_FORM = "one MessagePack array for each entity and view"
#: Before the first row of any table.
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Materialized:
    """What moving the online store did.

    Attributes:
        as_of: The instant that it was moved to, UTC.
        since: The instant from which rows were written.
        rows: The number of rows that were written, by Feast source name.
        rebuilt: Whether a filled store was filled anew.
    """

    as_of: datetime
    since: datetime
    rows: Mapping[str, int]
    rebuilt: bool


def materialize(
    place: DomainStore,
    services: Sequence[FeatureService],
    tables: Mapping[str, DataFrame],
    *,
    as_of: datetime,
    anew: bool = False,
) -> Materialized:
    """Moves a domain's online store to what was known at `as_of`, UTC. Other domains' stores stay as they are.

    Only rows since the last move are written. Writing a row again changes nothing, so a killed run can be run again; if
    it was filling the store from the beginning, the next one goes on after the parts that were complete.
    The store is filled anew from the beginning where `as_of` lies before the last move, so that it never holds a row
    from the future; where a row from before the last move was corrected, came late or was withdrawn; where other views
    are declared; and where its rows were lost. Readers see the old store until the new one is complete. Rows that
    pushed events have moved further than the tables stay, unless the store is filled anew.

    Args:
        place: The domain's store.
        services: The domain's feature services.
        tables: A DataFrame for each Feast source name.
        as_of: The instant to move to.
        anew: Whether the store is filled anew in any case.

    Raises:
        LockTimeout: if another writer holds the store for too long.
        SettingsError: if the tables hold only rows that became known after `as_of`.
    """
    with place.writing():
        state = place.state()
        left = unfinished(place, state.generation if state else None)
        remove_other_generations(place, *[each.generation for each in (state, left) if each])
        views, declared = stored_views(services), _digest(services)
        instants = [as_of, *(each.as_of for each in (state, left) if each)]
        past, *before = _pasts(views, tables, *instants)
        _require_rows(views, tables, past, as_of)
        since = None
        if state and not anew and _goes_on(place, state, declared, before[0], as_of):
            place.moving(state, as_of)
            since = state.as_of
            filling = Filling(state.generation, declared, as_of, past, {view.stored_name: 1 for view in views}, {})
        elif left and not anew and _goes_on(place, left, declared, before[-1], as_of):
            filling = replace(left, as_of=as_of, past=past)
        else:
            filling = begun(declared, as_of, past, views)
        rows = _fill(place, filling, services, tables, since)
        place.save(State(filling.generation, declared, as_of, as_of, past))
        filling.forget(place)
        remove_other_generations(place, filling.generation)
        return Materialized(as_of, since or BEGINNING, rows, rebuilt=state is not None and since is None)


def _goes_on(
    place: DomainStore, held: State | Filling, declared: str, before: Mapping[str, str], as_of: datetime
) -> bool:
    """Whether a generation holds what the tables held at its instant, so that only later rows have to be written."""
    newest = held.moving_to if isinstance(held, State) else held.as_of
    same = declared == held.declared and before == held.past
    return same and as_of >= newest and holds_rows(place, held.generation)


def _fill(
    place: DomainStore,
    filling: Filling,
    services: Sequence[FeatureService],
    tables: Mapping[str, DataFrame],
    since: datetime | None,
) -> dict[str, int]:
    """Writes the rows up to the instant of a filling; returns their number by Feast source name.

    Args:
        place: The domain's store.
        filling: The generation.
        services: The domain's feature services.
        tables: A DataFrame for each Feast source name.
        since: The first instant of rows that are written; None: the filling's parts are noted as they become complete,
            those that are complete are moved on, and the others are written from the beginning.
    """
    from feature_repo.latest_rows import batches, latest_rows
    from feature_repo.objects import feast_objects
    from feature_repo.online_rows import rows_of, write_batches

    generation, views = filling.generation, {view.stored_name: view for view in stored_views(services)}
    (place.folder / generation).mkdir(parents=True, exist_ok=True)
    store = open_generation(place, generation)
    store.apply(feast_objects(services, place.settings))
    mark_filled(place, generation)
    if since is None:
        filling.save(place)

    noting = threading.Lock()

    def fill(name: str) -> tuple[str, int]:
        nonlocal filling
        view, rows = views[name], 0
        for part in filling.parts_of(name):  # one after the other, since each takes memory
            start = since or filling.done.get(part, BEGINNING)
            latest = latest_rows(view, tables[view.table.source_name], start, filling.as_of, part[1:])
            # What a killed run has written is not later than what its part holds now.
            rows += write_batches(store, place.domain, view, batches(latest), first=since is None)
            if since is None:
                with noting:
                    filling = filling.with_done(part)
                    filling.save(place)
        return view.table.source_name, rows

    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
        written = dict(threads.map(fill, views))
    for name in views:  # Feast's own tools show it
        registered = store.get_feature_view(qualified(place.domain, name))
        store.registry.apply_materialization(registered, store.project, since or BEGINNING, filling.as_of)
    rows_of(store).close()
    return written


def _digest(services: Sequence[FeatureService]) -> str:
    """A digest of what the services declare."""
    declared = [
        [
            service.name,
            [
                [view.name, str(view.table), view.keys, [[f, view.contract.column(f).type] for f in view.fields]]
                for view in service.views
            ],
        ]
        for service in services
    ]
    return hashlib.sha256(json.dumps([ROW_FORM, *sorted(declared)]).encode()).hexdigest()


def _require_rows(
    views: Sequence[FeatureView], tables: Mapping[str, DataFrame], past: Mapping[str, str], as_of: datetime
) -> None:
    """Raises SettingsError where the tables have rows, but none by `as_of`: the store would be emptied."""
    from pyspark.sql import functions as F

    if not all(content.startswith("0-") for content in past.values()):
        return
    firsts = [tables[view.table.source_name].agg(F.min(EVENT_TIMESTAMP)).collect()[0][0] for view in views]
    if known := [first for first in firsts if first is not None]:
        raise SettingsError(
            object="as_of of the online store",
            observed=f"{as_of.isoformat()}, when no row of {', '.join(past)} was known",
            expected=f"an instant from the first row on, {min(known).isoformat()}",
            next_step="give a later instant, or none: then the store is moved to the platform's clock",
        )


def _pasts(views: Sequence[FeatureView], tables: Mapping[str, DataFrame], *instants: datetime) -> list[dict[str, str]]:
    """For each instant and table the number of its rows up to there, and the exclusive or of their hashes."""
    from pyspark.sql import functions as F

    def contents(view: FeatureView) -> list[str]:
        names = sorted({*view.keys, *view.fields, EVENT_TIMESTAMP})
        # The hash skips nulls, so their places are hashed as well.
        content = F.xxhash64(*names, *[F.col(name).isNull() for name in names])
        figures = []
        for until in instants:
            known = F.when(F.col(EVENT_TIMESTAMP) <= F.lit(until), content)
            figures += [F.count(known), F.bit_xor(known)]
        values = tables[view.table.source_name].agg(*figures).collect()[0]
        return [f"{values[place]}-{values[place + 1]}" for place in range(0, len(figures), 2)]

    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:  # the engine plans each question on one core
        found = list(threads.map(contents, views))
    return [
        {view.table.source_name: each[place] for view, each in zip(views, found, strict=True)}
        for place in range(len(instants))
    ]
