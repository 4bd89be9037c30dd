"""What a source is: another system that gives deliveries, from where the last landed one ended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

_INSTANT = "%Y-%m-%dT%H%M%S.%fZ"


@dataclass(frozen=True, slots=True)
class Extracted:
    """One complete delivery of a source that has not landed yet.

    Attributes:
        interval: The interval that it covers.
        name: Its file name.
        content: Its bytes, or a file that holds them until the next delivery is asked for.
        rows: How many records it has.
        position: What the source needs to continue behind it, as JSON.
        attributes: What its manifest says besides, as JSON. Two of them measure how far the platform lags: `newest` is
            the ISO 8601 instant of the newest record, `backlog` the number of records that the source has behind it.
    """

    interval: str
    name: str
    content: bytes | Path
    rows: int
    position: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> bytes:
        """The content's bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


class Source(Protocol):
    """A way to read data that another system owns."""

    @property
    def kind(self) -> str:
        """The technology, which Dagster shows at the asset."""
        ...

    @property
    def connection(self) -> str | None:
        """The name of its address in GOLDPATH_SOURCES; None for a source that needs no secret address."""
        ...

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The deliveries of what is new behind a position, in order.

        Args:
            position: The position of the last landed delivery, None before the first. A source has no other memory, so
                it always continues from what has landed.
            connection: The secret address; for a source without one, the platform's home folder.
            now: The platform's time, UTC.

        Raises:
            TransientError: if a later call may succeed; what was yielded before may be landed.
            LandingError: if the source is not as declared.
        """
        ...


def day(now: datetime) -> str:
    """The interval of an increment: the UTC day on which it was extracted, `YYYY-MM-DD`."""
    return now.astimezone(UTC).date().isoformat()


def instant(now: datetime, after: str = "") -> str:
    """The interval of a snapshot: its instant as text, which sorts by time and behind the snapshot before it.

    Args:
        now: The platform's time, UTC.
        after: The interval of the snapshot before. With a replayed clock, `now` may not be later.
    """
    interval = now.astimezone(UTC).strftime(_INSTANT)
    if interval > after:
        return interval
    before = datetime.strptime(after, _INSTANT).replace(tzinfo=UTC)
    return (before + timedelta(microseconds=1)).strftime(_INSTANT)


def file_stem(text: str) -> str:
    """A table, path or file name in the characters that the name of a delivery may begin with."""
    return re.sub(r"[^0-9A-Za-z.-]+", "_", text).strip("_.") or "delivery"


def newest(value: Any) -> dict[str, str]:
    """The attribute `newest` for a cursor value, UTC unless it has an offset; empty if the value is not an instant."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return {}
    return {"newest": (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()}
