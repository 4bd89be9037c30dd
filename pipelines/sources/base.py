"""What a source is: something outside that gives deliveries, and goes on where the last landed one left off."""

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
    """One delivery of a source, complete and not landed yet.

    `content` that is a path may be gone once the next delivery is asked for; `rows` counts its records; `position` is
    what the source needs to go on behind it, JSON; `attributes` are noted in its manifest. Two of them tell how far the
    platform lags: `newest`, the ISO 8601 instant of the newest record, and `backlog`, the records left behind it.
    """

    interval: str
    name: str
    content: bytes | Path
    rows: int
    position: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> bytes:
        """The content, whole."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


class Source(Protocol):
    """A way to get at data that others own.

    `kind` is the technology, as shown beside the asset; `connection` names an entry of GOLDPATH_SOURCES, None for a
    source that needs no secret address.
    """

    @property
    def kind(self) -> str: ...

    @property
    def connection(self) -> str | None: ...

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """What is new behind a position, in order.

        Args:
            position: That of the last landed delivery, None before the first; a source has no other memory, so nothing
                can get out of step with what has landed.
            connection: The secret address; for a source without one, the platform's home folder.
            now: The platform's time, UTC.

        Raises:
            TransientError: if trying again later may help; everything yielded before it is good.
            LandingError: if the source is not as it was declared.
        """
        ...


def day(now: datetime) -> str:
    """The interval of an increment: the UTC day on which it was extracted, `YYYY-MM-DD`."""
    return now.astimezone(UTC).date().isoformat()


def instant(now: datetime, after: str = "") -> str:
    """The interval of a snapshot: its instant, which sorts within its day and behind that of the snapshot before it.

    Args:
        now: The platform's time, UTC.
        after: The interval of the snapshot before, which a replayed clock may not have left yet.
    """
    shown = now.astimezone(UTC).strftime(_INSTANT)
    if shown > after:
        return shown
    before = datetime.strptime(after, _INSTANT).replace(tzinfo=UTC)
    return (before + timedelta(microseconds=1)).strftime(_INSTANT)


def file_stem(text: str) -> str:
    """A table, path or file name as a delivery's name may begin."""
    return re.sub(r"[^0-9A-Za-z.-]+", "_", text).strip("_.") or "delivery"


def newest(value: Any) -> dict[str, str]:
    """The attribute `newest` for a cursor value; none for one that is no instant. Without an offset it is UTC."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return {}
    return {"newest": (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()}
