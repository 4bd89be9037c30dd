"""Places in a Redis stream, compared with the stream's own counts: what is left behind one, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Id = tuple[int, int]
#: Before the first entry of a stream.
NO_ID: Id = (0, 0)


@dataclass(frozen=True, slots=True)
class State:
    """What a stream says of itself.

    Attributes:
        added: How many entries were ever added.
        kept: How many entries it has.
        last: The id of the last entry that it has.
        given: The highest id that it gave to an entry.
        deleted: The highest id among the entries that were deleted one by one.
    """

    added: int
    kept: int
    last: Id
    given: Id
    deleted: Id


@dataclass(frozen=True, slots=True)
class At:
    """A place in a stream: the last id that was read, and how many entries had been added up to it (`seen`)."""

    id: Id
    seen: int

    @classmethod
    def of(cls, position: Mapping[str, Any] | None, state: State) -> At:
        """The place that a position stands for; without a position the start of what the stream still has."""
        if position is None:
            return cls(NO_ID, state.added - state.kept)
        return cls(parsed(position["id"].encode()), position["seen"])

    @property
    def text(self) -> str:
        """The id as Redis writes it."""
        return shown(self.id)

    def settled(self, state: State) -> At:
        """The same place, its `seen` corrected by the stream's counts, which know deleted and trimmed entries."""
        if self.id >= state.last:
            return At(max(self.id, state.given), state.added)
        return At(self.id, max(self.seen, state.added - state.kept))

    def loss(self, state: State) -> str | None:
        """Which entries are gone that were not read, in words; None if there are none."""
        if state.given < self.id:
            return f"it ends at {shown(state.given)}, and had been landed up to {self.text}: it was deleted or restored"
        if (trimmed := state.added - state.kept - self.seen) > 0:
            return f"{trimmed} entries behind {self.text} were trimmed before they were landed"
        if self.id != NO_ID and state.deleted > self.id:
            return f"entries behind {self.text} and up to {shown(state.deleted)} were deleted before they were landed"
        return None


def parsed(identity: bytes) -> Id:
    """An id from Redis's text."""
    milliseconds, _, number = identity.partition(b"-")
    return int(milliseconds), int(number)


def shown(identity: Id) -> str:
    """An id as Redis's text."""
    return f"{identity[0]}-{identity[1]}"
