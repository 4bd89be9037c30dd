"""The platform's time: the wall clock, or the instant in the past that a replay of recorded data has reached.

During a replay, features are moved to the online store only up to this time, and an outcome counts only once this time
has passed it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import SettingsError
from pipelines.machine import files
from pipelines.settings import Settings


def now(settings: Settings) -> datetime:
    """The platform's time, UTC: the setting `clock`, else the file that a replay moves forward, else the wall clock.

    Raises:
        SettingsError: if the setting or the file does not hold an ISO 8601 instant with its offset.
    """
    text, source = settings.clock, "GOLDPATH_CLOCK"
    if text is None and _file(settings).exists():
        text, source = _file(settings).read_text(encoding="utf-8").strip(), str(_file(settings))
    if text is None:
        return datetime.now(UTC)
    return instant(text, of=source, next_step="correct it, or remove it to use the wall clock")


def instant(text: str, *, of: str, next_step: str) -> datetime:
    """Reads an ISO 8601 instant with its offset, and returns it in UTC.

    Args:
        text: What to read.
        of: The object of the error: the setting, file or option that the text comes from.
        next_step: The next step of the error.

    Raises:
        SettingsError: if the text is not an instant, or lacks an offset.
    """
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise SettingsError(
            object=of,
            observed=repr(text),
            expected="an ISO 8601 instant with its offset, such as 2013-11-01T04:00:00+00:00",
            next_step=next_step,
        )
    return parsed.astimezone(UTC)


def known_at(text: str, *, now: datetime, of: str) -> datetime:
    """Reads the instant whose knowledge is asked for, and returns it in UTC.

    Args:
        text: An ISO 8601 instant with its offset.
        now: The platform's time, UTC.
        of: The object of the error: the option or the field of a configuration that the text comes from.

    Raises:
        SettingsError: if the text is not an instant with its offset, or lies after `now`: nobody knows that yet.
    """
    asked = instant(text, of=of, next_step="write it with its offset, and no later than now")
    if asked > now:
        raise SettingsError(
            object=of,
            observed=f"{text}, which is yet to come",
            expected=f"an instant up to now, {now.isoformat(timespec='seconds')}",
            next_step="choose an earlier instant, or leave it out for now",
        )
    return asked


def replay(settings: Settings) -> str | None:
    """What people have to know of a clock that is not the wall clock, and how to be rid of it; None without one."""
    if settings.clock is None and not _file(settings).exists():
        return None
    shown = now(settings).isoformat(timespec="seconds")
    source, next_step = ("GOLDPATH_CLOCK", "unset it") if settings.clock else (str(_file(settings)), "remove that file")
    return f"the replay clock shows {shown} ({source}) for all domains; {next_step} to go by the wall clock"


def move(settings: Settings, instant: datetime) -> None:
    """Sets the replay clock of the home folder; `instant` has a time zone."""
    files.replace(_file(settings), instant.astimezone(UTC).isoformat())


def _file(settings: Settings) -> Path:
    return settings.root / "clock"
