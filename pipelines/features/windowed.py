"""Features over windows of an entity's events, declared once: for the table, for pushed events and on demand.

    RECENT = Windowed(
        table=contract("gold/customer_orders"),
        events=contract("silver/orders"),
        at="ordered_at",
        features={
            "orders_7d": count(last=timedelta(days=7)),
            "amount_mean_20": mean("amount", last=20),
            "amount_so_far": total("amount"),
            "last_amount": last("amount"),
        },
    )

    @gold_asset(RECENT.table, inputs={"orders": "silver/shop/orders"})
    def customer_orders(orders):
        return windowed_rows(RECENT, orders)

When an event counts. Time is cut into ticks, UTC, from 1970 on. An event counts from the first tick that is not before
its instant (`counts="at_once"`), or from the first one after it (`counts="after"`: for questions that are asked at the
instants of the events, and must not find them among what is known). A window of the length L at t holds the events that
count from after t - L up to t: one that counts from c is in it at c and is no longer in it at c + L.

Which rows there are. A row's values hold until the entity's next row. So there is a row at each tick from which an
event counts, and one at each tick at which an event leaves a window, also where that lies ahead: the table then needs
no new event to be right. With `holds="until_next_event"` there are only the former: the value of the last event's tick
is kept however long ago it was.

The order of events. By instant, then by the key of their table, which tells events apart: each counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError
from pipelines.features.aggregates import Aggregate
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView
from pipelines.policy.rules import require_inherited
from pipelines.tables import TableId

SECOND = timedelta(seconds=1)
Counts = Literal["at_once", "after"]
Holds = Literal["while_in_window", "until_next_event"]


#: The declaration of every table of windows that was loaded.
declarations: dict[TableId, Windowed] = {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windowed:
    """Aggregates of an entity's events. Grain of its rows: one per entity and tick at which a value may change.

    Attributes:
        table: The contract of the gold table; its key is the entity and `event_timestamp`.
        events: The contract of the table of events; its key tells events apart.
        at: The events' column with the instant, UTC, at which an event became known, or its day.
        features: Column of the table to how it is computed.
        tick: Values change at multiples of it alone; each window of time is one of them too.
        counts: Whether an event counts at its own instant, or after it.
        holds: Whether a value ends when an event leaves its window, or with the next event.
        without: The features that its feature view leaves out, and so the online store.

    Raises:
        DefinitionError: where columns, types or windows do not fit, and for a feature that is less protected than its
            column.
    """

    table: Contract
    events: Contract
    at: str
    features: Mapping[str, Aggregate]
    tick: timedelta = SECOND
    counts: Counts = "at_once"
    holds: Holds = "while_in_window"
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._require_kinds()
        types = {column.name: column.type for column in self.events.columns}
        declared = {column.name: column.type for column in self.table.columns}
        for key in self.keys:
            if types.get(key) != declared[key]:
                self._refuse(f"key {key}: {types.get(key, 'no such column')}", f"{declared[key]}, as in the table")
        if types.get(self.at) not in ("timestamp", "date"):
            self._refuse(f"at {self.at}: {types.get(self.at, 'no such column')}", "an instant or a day of the events")
        if self.tick < SECOND or self.tick % SECOND:
            self._refuse(f"a tick of {self.tick}", "one or more whole seconds, which online stores hold exactly")
        for name, aggregate in self.features.items():
            if name in (*self.keys, EVENT_TIMESTAMP):
                self._refuse(f"{name}: a feature, and part of the key", "a column of its own for each feature")
            if wrong := aggregate.wrong():
                self._refuse(f"{name}: {wrong}", "a positive window, in whole seconds or events")
            if aggregate.seconds and aggregate.seconds % self.tick_seconds:
                self._refuse(f"{name}: a window of {aggregate.span}", f"a multiple of the tick, {self.tick}")
            computed = aggregate.type_of(types.get(aggregate.column or ""))
            if computed is None or (aggregate.column and aggregate.column not in types):
                has = types.get(aggregate.column or "", "no such column")
                self._refuse(f"{name}: {aggregate.kind} of {aggregate.column}: {has}", "a column of numbers")
            if declared.get(name) != computed:
                self._refuse(f"{name}: {declared.get(name, 'no such column')} in the table", f"{computed}")
        sources = {key: key for key in self.keys} | {EVENT_TIMESTAMP: self.at}
        sources |= {name: a.column for name, a in self.features.items() if a.column}
        classes = {name: {f"{self.events.table}.{of}": self.events.data_class(of)} for name, of in sources.items()}
        require_inherited(self.table, classes)
        declarations[self.table.table] = self

    def _require_kinds(self) -> None:
        """Refuses what is no contract, aggregate, span or choice: it would fail later, or be taken for another."""
        kinds: list[tuple[str, object, bool, str]] = [
            (name, value, isinstance(value, Contract), 'the contract of a table, contract("silver/orders")')
            for name, value in (("table", self.table), ("events", self.events))
        ]
        kinds += [
            ("at", self.at, isinstance(self.at, str), "the name of a column"),
            ("tick", self.tick, isinstance(self.tick, timedelta), "a timedelta"),
            ("counts", self.counts, self.counts in get_args(Counts), " or ".join(get_args(Counts))),
            ("holds", self.holds, self.holds in get_args(Holds), " or ".join(get_args(Holds))),
            (
                "features",
                self.features,
                isinstance(self.features, dict) and self.features != {},
                "a dict of aggregates",
            ),
        ]
        kinds += [
            (f"features[{name!r}]", value, isinstance(name, str) and isinstance(value, Aggregate),
             "a name with count(…), total(…), mean(…) or last(…)")
            for name, value in (self.features.items() if isinstance(self.features, dict) else ())
        ]  # fmt: skip
        for name, value, fits, expected in kinds:
            if not fits:
                self._refuse(f"{name}: {value!r}", expected)

    def _refuse(self, observed: str, expected: str) -> None:
        named = [each for each in (self.table, self.events) if isinstance(each, Contract)]
        raise DefinitionError(
            object=f"windowed features{' of ' if named else ''}{' from '.join(str(each.table) for each in named)}",
            observed=observed,
            expected=expected,
            next_step=" or ".join(["correct the declaration", *[str(each.path) for each in named]]),
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that name an entity, in the table and in the events."""
        return self.view.keys

    @property
    def tick_seconds(self) -> int:
        """The length of a tick."""
        return int(self.tick.total_seconds())

    @property
    def leaving_seconds(self) -> tuple[int, ...]:
        """How long after an event counts a value may change again, without a further event."""
        if self.holds == "until_next_event":
            return ()
        return tuple(sorted({aggregate.seconds for aggregate in self.features.values() if aggregate.seconds}))

    @property
    def longest_seconds(self) -> int | None:
        """The length of the longest window of time; None where an event may count for ever."""
        spans = [aggregate.seconds for aggregate in self.features.values()]
        if self.holds == "until_next_event" or None in spans:
            return None
        return max(self.leaving_seconds)

    @property
    def view(self) -> FeatureView:
        """The table as a feature view."""
        return FeatureView(self.table, self.without)

    @property
    def columns(self) -> tuple[str, ...]:
        """The events' columns that the features are computed from."""
        return tuple(dict.fromkeys(a.column for a in self.features.values() if a.column is not None))
