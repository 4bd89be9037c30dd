"""The deliveries of a source as the landing zone would keep them, and the position of the newest one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipelines.sources.base import Extracted, Source

NOW = datetime(2013, 11, 1, 4, tzinfo=UTC)


@dataclass(slots=True)
class Landed:
    """Deliveries of a source at an address, oldest first."""

    address: str
    contents: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    intervals: list[str] = field(default_factory=list)
    attributes: list[Mapping[str, Any]] = field(default_factory=list)
    position: dict[str, Any] | None = None

    def take(self, source: Source, *, now: datetime = NOW, stop_after: int | None = None) -> list[bytes]:
        """Extracts as a run does, and returns what landed; `stop_after` is where the run is killed, in deliveries."""
        before = len(self.contents)
        extraction = source.extract(self.position, connection=self.address, now=now)
        for extracted in extraction if stop_after is None else (next(extraction) for _ in range(stop_after)):
            self.add([extracted])
        return self.contents[before:]

    def add(self, extraction: Iterable[Extracted]) -> None:
        """Lands deliveries; their position is written and read as JSON, as in a manifest."""
        for extracted in extraction:
            self.contents.append(extracted.read())
            self.names.append(extracted.name)
            self.intervals.append(extracted.interval)
            self.attributes.append(extracted.attributes)
            self.position = json.loads(json.dumps(extracted.position))


def records(contents: Iterable[bytes]) -> list[list[dict[str, Any]]]:
    """The objects of JSON lines files."""
    return [[json.loads(line) for line in content.splitlines()] for content in contents]


def ids(contents: Iterable[bytes]) -> list[list[Any]]:
    """The ids of the objects of JSON lines files."""
    return [[record["id"] for record in file] for file in records(contents)]
