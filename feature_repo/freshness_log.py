"""The log of a domain's freshness: the seconds from when data was durable until its online store answered with it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from feature_repo.state import DomainStore
from pipelines.machine import files, json_lines, locks

Way = Literal["filled", "pushed"]
#: How many measurements of each view and way are kept.
KEPT = 200
#: How many of its seconds a measurement keeps, evenly by rank, the longest among them.
SAMPLES = 200


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one filling, or a segment of pushed events, made readable of one view.

    Attributes:
        at: When it was readable, ISO 8601 in UTC.
        view: The view.
        way: `filled` counts deliveries, `pushed` counts events.
        count: The number of deliveries or events.
        seconds: From durable to readable, sorted; of more than `SAMPLES`, evenly chosen ones.
        batches: The number of the last batch of each bronze table that the view holds; empty for pushed events.
    """

    at: str
    view: str
    way: Way
    count: int
    seconds: Sequence[float]
    batches: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, view: str, way: Way, seconds: Iterable[float], batches: Mapping[str, int] | None = None) -> Measurement:
        """The measurement of what is readable from now on."""
        ranked = sorted(seconds)
        step = max(len(ranked) / SAMPLES, 1.0)
        kept = [round(ranked[math.ceil(step * (place + 1)) - 1], 4) for place in range(min(len(ranked), SAMPLES))]
        return cls(datetime.now(UTC).isoformat(), view, way, len(ranked), kept, batches or {})


@dataclass(frozen=True, slots=True)
class Summary:
    """The distribution of several measurements, in seconds; None where nothing was measured.

    Attributes:
        count: The number of deliveries or events.
        p50: The median.
        p99: The time within which 99 of 100 were readable.
        worst: The longest time.
    """

    count: int
    p50: float | None
    p99: float | None
    worst: float | None


def summary(measurements: Iterable[Measurement]) -> Summary:
    """The distribution over all deliveries, or events, of some measurements."""
    weighted = sorted((second, m.count / len(m.seconds)) for m in measurements for second in m.seconds)
    total = sum(weight for _, weight in weighted)

    def quantile(share: float) -> float | None:
        passed = 0.0
        for second, weight in weighted:
            passed += weight
            if passed >= share * total - 1e-9:
                return second
        return None

    return Summary(round(total), quantile(0.50), quantile(0.99), weighted[-1][0] if weighted else None)


def log(place: DomainStore) -> list[Measurement]:
    """The measurements of a domain, oldest first."""
    return [Measurement(**entry) for entry in json_lines.read(_path(place), is_measurement)]


def record(place: DomainStore, measurements: Sequence[Measurement]) -> None:
    """Adds measurements to the log of a domain, which keeps the newest `KEPT` of each view and way."""
    with locks.held(place.settings.root / "locks" / f"freshness.{place.domain}.lock", purpose="a measured freshness"):
        kept: dict[tuple[str, str], list[Measurement]] = {}
        for measurement in (*log(place), *measurements):
            kept.setdefault((measurement.view, measurement.way), []).append(measurement)
        newest = sorted((m for group in kept.values() for m in group[-KEPT:]), key=lambda m: m.at)
        files.replace(_path(place), "".join(json.dumps(asdict(m)) + "\n" for m in newest))


def is_measurement(entry: Mapping[str, Any]) -> bool:
    """Whether a line of the log is a measurement."""
    texts = all(isinstance(entry[name], str) for name in ("at", "view", "way"))
    numbers = isinstance(entry["count"], int) and all(isinstance(second, float) for second in entry["seconds"])
    return texts and numbers and isinstance(entry["batches"], dict) and len(entry) == 6


def by_view(measurements: Iterable[Measurement]) -> Iterator[tuple[str, Way, list[Measurement]]]:
    """The measurements of each view and way, by name."""
    groups: dict[tuple[str, Way], list[Measurement]] = {}
    for measurement in measurements:
        groups.setdefault((measurement.view, measurement.way), []).append(measurement)
    for (view, way), group in sorted(groups.items()):
        yield view, way, group


def _path(place: DomainStore) -> Path:
    return place.folder / "freshness.jsonl"
