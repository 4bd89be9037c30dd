"""A pushed source: its sender posts events to the platform, and an event may update online features at once.

    movements = push_source(contract("bronze/movements"), contract("silver/movements"), day="flight_date")

The server that receives the events is `goldpath push`. It lands them as deliveries; from there on, a pushed source is
like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError
from pipelines.features.declaration import FeatureView
from pipelines.features.windowed import Windowed
from pipelines.verdict.event import require_judgeable

if TYPE_CHECKING:
    import dagster as dg

EVENT_ID = "event_id"
RECEIVED_AT = "received_at"

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class OnlineMove:
    """How an event updates one online feature view.

    Attributes:
        view: The feature view, of the domain that declares the source.
        key: The event's column that is the view's entity key, under the same name.
        at: The event's column with the instant at which the event became known, UTC.
        apply: Computes what to store for an entity. It receives what is stored (the features and `event_timestamp`;
            None before the first event) and a checked event. Senders repeat events, and events overtake each other. So
            its result must not depend on the order of events, nor on how often one comes, and must equal the row of
            the view's table, which is computed from all events.
    """

    view: FeatureView
    key: str
    at: str
    apply: Callable[[Values | None, Values], Values]


@dataclass(frozen=True, slots=True)
class PushSource:
    """A pushed source.

    Attributes:
        bronze: The contract of the bronze table that takes the events.
        silver: The contract that an event is checked against before it may update features.
        day: The event's column with the day that it belongs to, YYYY-MM-DD; None is the UTC day of its arrival.
        online: The online features that an event updates: windows of the silver table's rows, or a function of the
            stored row; None for none.
    """

    bronze: Contract
    silver: Contract
    day: str | None = None
    online: OnlineMove | Windowed | None = None

    @property
    def name(self) -> tuple[str, str]:
        """Domain and source, as in the address that events are sent to."""
        return self.bronze.table.domain, self.bronze.table.table

    @property
    def spec(self) -> dg.AssetSpec:
        """The landed deliveries as an external asset, which the push server writes."""
        import dagster as dg

        bronze = self.bronze
        domain, source = self.name
        arrival = f"Arrives by POST /v1/events/{domain}/{source} of `goldpath push`."
        if self.online:
            arrival += f" An event updates the online features {self.online.view.name} before it is acknowledged."
        return dg.AssetSpec(
            ["landing", domain, source],
            description=f"{bronze.purpose}\n\n{arrival}\n\nGrain: one line per event.",
            group_name=f"{domain}_landing",
            owners=[f"team:{bronze.owner}"],
            tags=dict(bronze.tags),
            kinds={"jsonl", "http"},
        )


def push_source(
    bronze: Contract, silver: Contract, *, day: str | None = None, online: OnlineMove | Windowed | None = None
) -> PushSource:
    """Declares a pushed source.

    Args:
        bronze: The contract of the bronze table; among its columns are `event_id` and `received_at`, which the server
            fills in if the sender does not.
        silver: The contract that an event is checked against before it may update features.
        day: The event's column with the day that it belongs to, YYYY-MM-DD; None is the UTC day of its arrival.
        online: The online features that an event updates: windows of the silver table's rows, or a function of the
            stored row; None for none.

    Raises:
        DefinitionError: if a bad event could keep other events from being taken, or, for a source that updates
            features, if events cannot be judged one by one.
    """
    columns = {column.name for column in bronze.columns}
    requirements = {
        "format jsonl": bronze.format == "jsonl",
        f"columns {EVENT_ID} and {RECEIVED_AT}": {EVENT_ID, RECEIVED_AT} <= columns,
        "a drift.columns other than freeze, which would refuse a delivery because of one event": bronze.drift["columns"]
        != "freeze",
        f"the day column {day!r}": day is None or day in columns,
    }
    for requirement, met in requirements.items():
        if not met:
            raise DefinitionError(
                object=f"pushed source {bronze.table}",
                observed=f"{bronze.path.name} lacks {requirement}",
                expected="a contract under which single events can be taken",
                next_step=f"correct {bronze.path}",
            )
    if online:
        require_judgeable(silver)
        if isinstance(online, Windowed):
            _require_windows(bronze, silver, online)
        else:
            _require_view(bronze, silver, online)
    return PushSource(bronze, silver, day, online)


def _require_view(bronze: Contract, silver: Contract, online: OnlineMove) -> None:
    """Refuses a view of another domain, whose store this one does not fill, and one whose entity an event lacks."""
    columns = {column.name for column in silver.columns}
    own = online.view.table.domain == bronze.table.domain
    if not own or online.view.keys != (online.key,) or not {online.key, online.at} <= columns:
        raise DefinitionError(
            object=f"pushed source {bronze.table}",
            observed=f"it moves {online.view.table}, with key {', '.join(online.view.keys)}, by its columns "
            f"{online.key} and {online.at}",
            expected=f"a view of domain {bronze.table.domain} with one key, and events that hold it and their instant",
            next_step=f"correct OnlineMove, or the columns of {silver.path}",
        )


def _require_windows(bronze: Contract, silver: Contract, online: Windowed) -> None:
    """Refuses windows of other events, events that are not told apart by their ids, and columns computed elsewhere."""
    others = [field for field in online.view.fields if field not in online.features]
    requirements = {
        f"a table of domain {bronze.table.domain}": online.table.table.domain == bronze.table.domain,
        f"the events of {silver.table}": online.events.table == silver.table,
        f"the key {EVENT_ID} of {silver.table}": silver.key_columns == [EVENT_ID],
        f"windows for {', '.join(others)}": not others,
    }
    for requirement, met in requirements.items():
        if not met:
            raise DefinitionError(
                object=f"pushed source {bronze.table}",
                observed=f"it moves {online.table.table}, which lacks {requirement}",
                expected="windows whose rows follow from the pushed events alone, each of which counts once",
                next_step=f"correct the declaration, {online.table.path} or {silver.path}",
            )
