"""A filling of an online store that is not complete: what it has written, so that a run after a killed one goes on.

It is noted in `features/<domain>/<generation>/filling.json`, part by part; no reader sees the generation yet. A part is
those entities of a view that fall to it by the hash of their keys.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from feature_repo.state import DomainStore, new_generation
from pipelines.features.declaration import FeatureView
from pipelines.machine import files

FILLING_FILE = "filling.json"
#: How many values of a table one part of a view reads at most, on average: the engine's memory is for the keys of one.
VALUES_PER_PART = 200_000_000
#: One part of a view: its name, the part's number and the number of parts.
Part = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Filling:
    """A generation that is being filled.

    Attributes:
        generation: Its name.
        declared: A digest of the feature services that it is filled for.
        as_of: The instant of the newest row that it may hold, UTC.
        past: For each Feast source, what its rows up to `as_of` were.
        parts: View, by its stored name, to its number of parts.
        done: The parts that are complete, each with the instant up to which it is.
    """

    generation: str
    declared: str
    as_of: datetime
    past: Mapping[str, str]
    parts: Mapping[str, int]
    done: Mapping[Part, datetime]

    def parts_of(self, view: str) -> list[Part]:
        """Every part of a view."""
        return [(view, number, self.parts[view]) for number in range(self.parts[view])]

    def with_done(self, part: Part) -> Filling:
        """With one more part that is complete up to `as_of`."""
        return replace(self, done={**self.done, part: self.as_of})

    def save(self, place: DomainStore) -> None:
        """Notes it in its folder, which has to be there."""
        saved = {
            "declared": self.declared,
            "as_of": self.as_of.isoformat(),
            "past": dict(self.past),
            "parts": dict(self.parts),
            "done": [[*part, instant.isoformat()] for part, instant in self.done.items()],
        }
        files.replace(place.folder / self.generation / FILLING_FILE, json.dumps(saved))

    def forget(self, place: DomainStore) -> None:
        """Removes the note: the generation is complete, or it never had one."""
        (place.folder / self.generation / FILLING_FILE).unlink(missing_ok=True)


def begun(declared: str, as_of: datetime, past: Mapping[str, str], views: Sequence[FeatureView]) -> Filling:
    """A filling of a new generation, of which nothing is written.

    Args:
        declared: A digest of the feature services.
        as_of: The instant to fill it to.
        past: For each Feast source the number of its rows, `-`, and a digest of them.
        views: The views.
    """
    parts = {}
    for view in views:
        rows = int(past[view.table.source_name].partition("-")[0])
        parts[view.stored_name] = 1 + rows * len(view.fields) // VALUES_PER_PART
    return Filling(new_generation(), declared, as_of, past, parts, {})


def unfinished(place: DomainStore, filled: str | None) -> Filling | None:
    """The filling that a killed run has left; None without one, or with a note that cannot be read.

    Args:
        place: The domain's store.
        filled: The generation that is read, which is complete.
    """
    for generation in place.generations():
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            saved = json.loads((place.folder / generation / FILLING_FILE).read_text(encoding="utf-8"))
            as_of = datetime.fromisoformat(saved["as_of"])
            done = {
                (view, number, count): datetime.fromisoformat(instant) for view, number, count, instant in saved["done"]
            }
            if generation != filled:
                return Filling(generation, saved["declared"], as_of, saved["past"], saved["parts"], done)
    return None
