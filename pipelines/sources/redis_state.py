"""Where reading a Redis stream stands, against what the stream says of itself: what is left, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Id = tuple[int, int]
NOTHING: Id = (0, 0)


@dataclass(frozen=True, slots=True)
class State:
    """What a stream says of itself: how many entries it was ever given and has still, the last that it has, the highest
    id that it gave and the highest that somebody deleted by name."""

    added: int
    kept: int
    last: Id
    given: Id
    deleted: Id


@dataclass(frozen=True, slots=True)
class At:
    """Where reading stands: the last id that was read, and how many entries the stream was given up to it."""

    id: Id
    seen: int

    @classmethod
    def of(cls, position: Mapping[str, Any] | None, state: State) -> At:
        if position is None:
            return cls(NOTHING, state.added - state.kept)
        return cls(parsed(position["id"].encode()), position["seen"])

    @property
    def text(self) -> str:
        return shown(self.id)

    def settled(self, state: State) -> At:
        """The same place, counted by what the stream knew at that moment: behind all that it has, or what it lost."""
        if self.id >= state.last:
            return At(max(self.id, state.given), state.added)
        return At(self.id, max(self.seen, state.added - state.kept))

    def loss(self, state: State) -> str | None:
        """What is gone that was not read, in words; None where nothing is."""
        if state.given < self.id:
            return f"it ends at {shown(state.given)}, and had been landed up to {self.text}: it was deleted or restored"
        if (trimmed := state.added - state.kept - self.seen) > 0:
            return f"{trimmed} entries behind {self.text} were trimmed before they were landed"
        if self.id != NOTHING and state.deleted > self.id:
            return f"entries behind {self.text} and up to {shown(state.deleted)} were deleted before they were landed"
        return None


def parsed(identity: bytes) -> Id:
    milliseconds, _, number = identity.partition(b"-")
    return int(milliseconds), int(number)


def shown(identity: Id) -> str:
    return f"{identity[0]}-{identity[1]}"
