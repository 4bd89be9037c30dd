"""Recognizes a folder that cannot be written in errors of Python and SQLite."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from pipelines.errors import GoldpathError, SettingsError

_MESSAGE = re.compile(r"attempt to write a readonly database|unable to open database file|Read-only file system")


def named(error: BaseException, home: Path) -> SettingsError | None:
    """The SettingsError for an error that such a folder caused; None for any other error.

    The causes of the error are searched, too. An error that is a GoldpathError already gives None.
    """
    words = None if isinstance(error, GoldpathError) else _words(error)
    if words is None:
        return None
    return SettingsError(
        object=f"home folder {home}",
        observed=words,
        expected="a folder that this user can read and write",
        next_step="make it writable, or set GOLDPATH_HOME to another folder; goldpath doctor checks it",
    )


def _words(error: BaseException | None) -> str | None:
    """The words that report a file that cannot be written, in the error or in one of its causes; None if none does."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        if match := _MESSAGE.search(str(error)):
            return match[0]
        error = error.__cause__ or error.__context__
    return None
