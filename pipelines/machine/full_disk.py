"""A full disk, by one name: Python, Arrow, SQLite, delta-rs and the engines each say it in words of their own."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from pipelines.errors import FullDiskError, GoldpathError

WORDS = re.compile(r"No space left on device|database or disk is full|Disk quota exceeded")
_MIB = 2**20


def named(error: BaseException, folders: Iterable[Path]) -> FullDiskError | None:
    """The error as one that names the disk; None if it, and what caused it, is about something else.

    Args:
        error: What was raised.
        folders: Where the work may have written; the one with the least room is named.
    """
    words = _words(error)
    there = [folder for folder in folders if folder.exists()]
    if words is None or isinstance(error, GoldpathError) or not there:
        return None
    room = {folder: shutil.disk_usage(folder) for folder in there}
    fullest = min(room, key=lambda folder: room[folder].free)
    free, total = room[fullest].free / _MIB, room[fullest].total / _MIB
    return FullDiskError(
        object=f"disk of {fullest}",
        observed=f"{words}; {free:,.1f} of {total:,.1f} MiB are free now that what was half written is gone",
        expected="room for what a run writes before it publishes: about what it adds or replaces",
        next_step="free space there and run the asset again: what is published stays, and it goes on where it stopped",
    )


def _words(error: BaseException | None) -> str | None:
    """What says that a disk is full, in the error or what caused it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "No space left on device" if error.errno == errno.ENOSPC else "Disk quota exceeded"
        if found := WORDS.search(str(error)):
            return found.group()
        error = error.__cause__ or error.__context__
    return None
