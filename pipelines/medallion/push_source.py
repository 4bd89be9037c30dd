"""A pushed source: its sender calls us, event by event, and an event may move online features at once.

    movements = push_source(contract("bronze/movements"), contract("silver/movements"), day="flight_date")

The server that takes the events is `goldpath push`. From the landing zone on, a pushed source is like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError
from pipelines.verdict.event import require_judgeable

if TYPE_CHECKING:
    import dagster as dg

EVENT_ID = "event_id"
RECEIVED_AT = "received_at"

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OnlineMove:
    """How an event moves one online feature view.

    Attributes:
        view: The feature view.
        key: The event's column that is the view's entity key.
        at: The event's column that says when it became known, UTC.
        apply: From what is stored for the entity (its features and `event_timestamp`; None before the first) and a
            checked event to what is to be stored. It has to give the same whatever the order in which events come and
            however often one comes, since senders repeat themselves and lines overtake each other; and the same as the
            view's table, which is computed from all of them.
    """

    view: str
    key: str
    at: str
    apply: Callable[[Values | None, Values], Values]


@dataclass(frozen=True, slots=True)
class PushSource:
    """What is pushed, under which contracts, which column declares an event's day, and what it moves."""

    bronze: Contract
    silver: Contract
    day: str | None = None
    online: OnlineMove | None = None

    @property
    def name(self) -> tuple[str, str]:
        """Domain and source, as in the address that events are sent to."""
        return self.bronze.table.domain, self.bronze.table.table

    @property
    def spec(self) -> dg.AssetSpec:
        """The landed deliveries as an asset that others write."""
        import dagster as dg

        bronze = self.bronze
        domain, source = self.name
        how = f"Arrives by POST /v1/events/{domain}/{source} of `goldpath push`."
        moves = (
            f" An event moves the online features {self.online.view} before it is acknowledged." if self.online else ""
        )
        return dg.AssetSpec(
            ["landing", domain, source],
            description=f"{bronze.purpose}\n\n{how}{moves}\n\nGrain: one line per event.",
            group_name="landing",
            owners=[f"team:{bronze.owner}"],
            tags=dict(bronze.tags),
            kinds={"jsonl", "http"},
        )


def push_source(
    bronze: Contract, silver: Contract, *, day: str | None = None, online: OnlineMove | None = None
) -> PushSource:
    """Declares a pushed source.

    Args:
        bronze: Its columns hold `event_id` and `received_at`, which the server fills in where the sender does not.
        silver: What an event is checked against before it may move features.
        day: The event's column with the day that it belongs to, YYYY-MM-DD; else it is the UTC day of its arrival.
        online: What it moves.

    Raises:
        DefinitionError: if one bad event could hold up others, or the events cannot be judged one by one.
    """
    names = {column.name for column in bronze.columns}
    problems = {
        "format jsonl": bronze.format == "jsonl",
        f"columns {EVENT_ID} and {RECEIVED_AT}": {EVENT_ID, RECEIVED_AT} <= names,
        "drift.columns other than freeze, which would refuse a delivery over one event": bronze.drift["columns"]
        != "freeze",
        f"the column {day!r} of its days": day is None or day in names,
    }
    for expected, holds in problems.items():
        if not holds:
            raise DefinitionError(
                object=f"pushed source {bronze.table}",
                observed=f"{bronze.path.name} has not: {expected}",
                expected="a contract under which single events can be taken",
                next_step=f"correct {bronze.path}",
            )
    if online:
        require_judgeable(silver)
    return PushSource(bronze, silver, day, online)
