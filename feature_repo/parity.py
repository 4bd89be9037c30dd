"""Parity: whether the online store answers what the as-of join gives, value by value, for sampled entities.

The as-of join is the one that training sets are made with, at the instant to which the store was moved. A value is
equal only with its type; the instant of a row counts too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feature_repo.asof import as_of_join
from feature_repo.feature_rows import FeatureRows
from feature_repo.filling import AT_ONCE
from feature_repo.state import DomainStore
from feature_repo.store import current
from pipelines.features.declaration import EVENT_TIMESTAMP, SHOWN, FeatureService, FeatureView, stored_views

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Row = Mapping[str, Any]
#: How many entities of each view are compared after a materialization.
SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs; `online` or `offline` is the text `no row` where that side has none.

    Of a column above the class that is shown to everybody, a value is its class in brackets.
    """

    view: str
    entity: Mapping[str, Any]
    feature: str
    online: Any
    offline: Any


@dataclass(frozen=True, slots=True)
class ViewParity:
    """The comparison of one version of a view.

    Attributes:
        view: The name of its table.
        entities: How many of its entities were compared.
        values: How many values, their instants among them.
        ahead: How many entities pushed events have moved further than the table; their values are not compared.
        differences: What differs.
    """

    view: str
    entities: int
    values: int
    ahead: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison of a domain's store with the as-of join at `as_of`, UTC."""

    domain: str
    as_of: datetime
    views: tuple[ViewParity, ...]

    @property
    def differences(self) -> list[Difference]:
        """What differs in any view."""
        return [difference for view in self.views for difference in view.differences]

    @property
    def words(self) -> str:
        """The outcome in one sentence."""
        values = sum(view.values for view in self.views)
        entities = sum(view.entities for view in self.views)
        found = f"{len(self.differences):,} of {values:,} values of {entities:,} entities differ"
        return found + (f", first {_words(self.differences[0])}" if self.differences else "")


def compare(
    place: DomainStore,
    services: Sequence[FeatureService],
    tables: Mapping[str, DataFrame],
    *,
    pushed: Collection[str] = (),
    entities: int | None = SAMPLE,
) -> Parity:
    """Compares a domain's online store with its tables.

    Args:
        place: The domain's store; no writer may change it meanwhile.
        services: The domain's feature services.
        tables: A DataFrame for each Feast source name.
        pushed: The views, by the name of their table, that pushed events move further than it.
        entities: At most so many of each view, the same in each comparison at one instant; None compares all.

    Raises:
        NotFoundError: if the store was not filled yet.
    """
    from feature_repo.online_rows import stored_rows

    opened = current(place)
    as_of = opened.state.as_of
    views = stored_views(services)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:  # the engine plans each question on one core
        known = list(threads.map(lambda view: _known(view, tables[view.table.source_name], as_of, entities), views))
    compared = []
    for view, expected in zip(views, known, strict=True):
        keys = [{key: row[key] for key in view.keys} for row in expected]
        held = stored_rows(opened.store, place.domain, view, keys)
        compared.append(_compared(view, expected, held, ahead_allowed=view.stored_name in pushed))
    return Parity(place.domain, as_of, tuple(compared))


def _known(view: FeatureView, rows: DataFrame, as_of: datetime, entities: int | None) -> list[Row]:
    """The values of sampled entities at an instant, by the as-of join."""
    from pyspark.sql import functions as F

    spine = rows.where(F.col(EVENT_TIMESTAMP) <= F.lit(as_of)).select(*view.keys).distinct()
    spine = spine.dropna()
    if entities is not None:
        spine = spine.orderBy(F.xxhash64(*view.keys, F.lit(as_of.isoformat()))).limit(entities)
        rows = rows.join(spine, list(view.keys), "left_semi")
    known_at = f"{view.name}__{EVENT_TIMESTAMP}"
    table = FeatureRows(
        rows=rows,
        keys={key: key for key in view.keys},
        timestamp=EVENT_TIMESTAMP,
        columns=dict(zip(view.fields, view.full_names, strict=True)),
        known_at=known_at,
    )
    joined = as_of_join(spine.withColumn(EVENT_TIMESTAMP, F.lit(as_of)), [table], timestamp=EVENT_TIMESTAMP)
    names = list(zip(view.fields, view.full_names, strict=True))
    return [
        {key: row[key] for key in view.keys}
        | {field: _null(row[name]) for field, name in names}
        | {EVENT_TIMESTAMP: row[known_at]}
        for row in joined.toArrow().to_pylist()
    ]


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _compared(
    view: FeatureView, expected: Sequence[Row], held: Sequence[Row | None], *, ahead_allowed: bool
) -> ViewParity:
    differences: list[Difference] = []
    names, values, ahead = (*view.fields, EVENT_TIMESTAMP), 0, 0
    hidden = {name: f"({view.data_class(name)})" for name in view.above(SHOWN)}
    for known, stored in zip(expected, held, strict=True):
        entity = {key: hidden.get(key, known[key]) for key in view.keys}
        if stored is None:
            differences.append(Difference(view.stored_name, entity, EVENT_TIMESTAMP, "no row", known[EVENT_TIMESTAMP]))
        elif ahead_allowed and stored[EVENT_TIMESTAMP] > known[EVENT_TIMESTAMP]:
            ahead += 1
            continue
        else:
            differences += [
                Difference(
                    view.stored_name, entity, name, hidden.get(name, stored[name]), hidden.get(name, known[name])
                )
                for name in names
                if not _equal(stored[name], known[name])
            ]
        values += len(names)
    return ViewParity(view.stored_name, len(expected), values, ahead, tuple(differences))


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _words(difference: Difference) -> str:
    entity = ", ".join(f"{key} {value}" for key, value in difference.entity.items())
    place = f"{difference.view}.{difference.feature} of {entity}"
    return f"{place}: online {difference.online}, as-of join {difference.offline}"
