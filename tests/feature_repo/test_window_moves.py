"""Windowed features that pushed events move are those of the table of the same events, and those on demand."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.filling import materialize
from feature_repo.online_moves import OnlineMover
from feature_repo.online_rows import stored_rows
from feature_repo.state import DomainStore
from feature_repo.store import current
from pipelines.features.aggregates import count, last, mean, total
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureService
from pipelines.features.windowed import Windowed
from pipelines.features.windowed_events import row_at
from pipelines.features.windowed_table import windowed_rows
from pipelines.governed.platform import Platform
from pipelines.tables import RECORD_ID
from tests.pipelines.toy_contracts import contract

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

Event = dict[str, Any]
BEGIN = datetime(2013, 3, 9, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
FEATURES = {
    "parts": ("bigint", count()),
    "parts_1h": ("bigint", count(last=HOUR)),
    "holes_3h": ("bigint", total("holes", last=3 * HOUR)),
    "weight_1h": ("double", total("weight", last=HOUR)),
    "weight_mean_3": ("double", mean("weight", last=3)),
    "colour": ("string", last("colour")),
    "holes_before": ("bigint", last("holes", 2, within=2 * HOUR)),
}
#: Without the features that count for ever: of these, only young events are read again and kept.
SPANS = ("parts_1h", "holes_3h", "weight_1h", "holes_before")
COLUMNS = {"kind": "string", "box": "bigint", "holes": "bigint", "weight": "double", "colour": "string"}
ARROW = {"string": pa.string(), "bigint": pa.int64(), "double": pa.float64(), "timestamp": pa.timestamp("us", "UTC")}
LOGICAL = {"string": "string", "bigint": "integer", "double": "number", "timestamp": "timestamp"}


def node(name: str, kind: str, key: int = 0) -> dict[str, Any]:
    column = {"name": name, "logicalType": LOGICAL[kind], "physicalType": kind, "description": name}
    return column | ({"primaryKey": True, "primaryKeyPosition": key, "required": True} if key else {})


@pytest.fixture(scope="module")
def declare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Windowed]:
    folder = tmp_path_factory.mktemp("contracts")
    columns = [node("event_id", "string", 1), node("built_at", "timestamp"), *[node(*c) for c in COLUMNS.items()]]
    events = contract(folder, "silver/toys/parts", columns)
    keys = [node("kind", "string", 1), node("box", "bigint", 2), node(EVENT_TIMESTAMP, "timestamp", 3)]

    def declared(names: Any = tuple(FEATURES), **more: Any) -> Windowed:
        features = [node(name, FEATURES[name][0]) for name in names]
        return Windowed(
            table=contract(folder, "gold/toys/boxes", [*keys, *features]),
            events=events,
            at="built_at",
            features={name: FEATURES[name][1] for name in names},
            **more,
        )

    return declared


def random_events(seed: int, number: int) -> list[Event]:
    """Events of ten hours, some at one instant, some at the edges of windows."""
    chance = random.Random(seed)
    return [
        {
            "event_id": f"e{place:03d}",
            "built_at": BEGIN
            + chance.randrange(20) * HOUR / 2
            + timedelta(seconds=chance.choice([0, 0, 1, -1, 599.5])),
            "kind": chance.choice(["brick", "wheel"]),
            "box": chance.choice([1, 2]),
            "holes": chance.choice([None, 0, 2, 4]),
            "weight": chance.choice([None, 0.5, 0.25, 8.0]),
            "colour": chance.choice([None, "red", "grün"]),
        }
        for place in range(number)
    ]


def arrow(events: list[Event]) -> pa.Table:
    types = {"event_id": pa.string(), "built_at": ARROW["timestamp"], **{n: ARROW[k] for n, k in COLUMNS.items()}}
    rows = [event | {RECORD_ID: event["event_id"]} for event in events]
    return pa.Table.from_pylist(rows, schema=pa.schema({**types, RECORD_ID: pa.string()}))


class Toys:
    """The table of events and the online store of one platform."""

    def __init__(self, platform: Platform, declared: Windowed) -> None:
        self.platform, self.declared = platform, declared
        self.service = FeatureService("toys_v1", "toys", (declared.view,), "Toys.", "toy-data")
        self.place = DomainStore(platform.settings, "toys")
        self.mover = OnlineMover(platform.settings)

    def publish(self, events: list[Event], at: datetime) -> None:
        """A new version of the table of events, and the online store moved to what the features' table then holds."""
        version = self.platform.lakehouse.record(self.declared.events.table, arrow(events))
        rows = windowed_rows(self.declared, self.platform.lakehouse.read(version)).drop(RECORD_ID)
        # Of equal columns and bytes in each version, as the store compares them.
        materialize(self.place, [self.service], {self.declared.table.table.source_name: rows}, as_of=at)

    def online(self) -> dict[tuple[str, int], Event]:
        entities = [(kind, box) for kind in ("brick", "wheel") for box in (1, 2)]
        asked = [{"kind": kind, "box": box} for kind, box in entities]
        rows = stored_rows(current(self.place).store, "toys", self.declared.view, asked)
        return {entity: dict(row) for entity, row in zip(entities, rows, strict=True) if row is not None}


def on_demand(declared: Windowed, events: list[Event], at: datetime) -> dict[tuple[str, int], Event]:
    rows = {}
    for entity in {(event["kind"], event["box"]) for event in events}:
        row = row_at(declared, [event for event in events if (event["kind"], event["box"]) == entity], at)
        if row is not None:
            rows[entity] = {name: row[name] for name in (*declared.view.fields, EVENT_TIMESTAMP)}
    return rows


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (tuple(FEATURES), {}),
        (SPANS, {"counts": "after", "without": ("holes_3h",)}),
        (tuple(FEATURES), {"holds": "until_next_event"}),
    ],
    ids=["all", "spans", "until_next_event"],
)
def test_events_pushed_in_any_order_give_the_rows_of_the_table_and_those_on_demand(
    make_platform: Callable[[], Platform], declare: Callable[..., Windowed], names: Any, more: Any
) -> None:
    events, chance = random_events(seed=5, number=95), random.Random(6)
    toys = Toys(make_platform(), declare(names, **more))
    landed, pushed, at = events[:30], events[30:90], BEGIN + 4 * HOUR
    toys.publish(landed, at)
    chance.shuffle(pushed)
    for begin in range(0, 60, 20):
        group = pushed[begin : begin + 20] + chance.sample([*landed, *pushed[:begin]], 5)  # some of them again
        outcomes = toys.mover.move(toys.declared, group, at)
        assert [outcome == "ahead" for outcome in outcomes] == [event["built_at"] > at for event in group]
        if begin == 0:  # the table takes over some of what was pushed, and other events by another way
            toys.platform.lakehouse.record(toys.declared.events.table, arrow([*landed, *pushed[:10], *events[90:]]))
        if begin == 20:  # and the features' table with it
            toys.publish([*landed, *pushed[:40], *events[90:]], at)
        at += HOUR
    # An entity's row is computed when one of its events is pushed.
    every = list({(event["kind"], event["box"]): event for event in events if event["built_at"] <= at}.values())
    toys.mover.move(toys.declared, every, at)
    assert toys.mover.move(toys.declared, every, at) == ["unchanged"] * 4
    expected = on_demand(toys.declared, events, at)
    assert toys.online() == expected
    batch = Toys(make_platform(), toys.declared)
    batch.publish(events, at)
    assert batch.online() == expected
    assert len(expected) == 4
