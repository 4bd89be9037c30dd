"""What time it is for the platform: the wall clock, or an instant in the past that a replay has reached.

Recorded data can be lived through again: features are moved to the online store only as far as the clock, and outcomes
count only once the clock has passed them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import SettingsError
from pipelines.machine import files
from pipelines.settings import Settings


def now(settings: Settings) -> datetime:
    """The platform's time, UTC: the setting, else the file that a replay moves forward, else the wall clock."""
    text, source = settings.clock, "GOLDPATH_CLOCK"
    if text is None and _file(settings).exists():
        text, source = _file(settings).read_text(encoding="utf-8").strip(), str(_file(settings))
    if text is None:
        return datetime.now(UTC)
    return instant(text, of=source, next_step="correct it, or remove it to use the wall clock")


def instant(text: str, *, of: str, next_step: str) -> datetime:
    """The instant that a text names, UTC; raises SettingsError about what it is `of`, if it names none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise SettingsError(
            object=of,
            observed=repr(text),
            expected="an ISO 8601 instant with its offset, such as 2013-11-01T04:00:00+00:00",
            next_step=next_step,
        )
    return found.astimezone(UTC)


def move(settings: Settings, instant: datetime) -> None:
    """Sets the replay clock of this home folder."""
    files.replace(_file(settings), instant.astimezone(UTC).isoformat())


def _file(settings: Settings) -> Path:
    return settings.root / "clock"
