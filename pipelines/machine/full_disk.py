"""Recognizes a full disk in errors of Python, Arrow, SQLite, delta-rs and the engines, which word it differently."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from pipelines.errors import FullDiskError, GoldpathError

_MESSAGE = re.compile(r"No space left on device|database or disk is full|Disk quota exceeded")
_MIB = 2**20


def named(error: BaseException, folders: Iterable[Path]) -> FullDiskError | None:
    """The FullDiskError for an error that a full disk caused; None for any other error.

    The causes of the error are searched, too. An error that is a GoldpathError already gives None.

    Args:
        error: The error that was raised.
        folders: The folders to which the work may have written; the one with the least free space is named.
    """
    message = _message(error)
    existing = [folder for folder in folders if folder.exists()]
    if message is None or isinstance(error, GoldpathError) or not existing:
        return None
    usage = {folder: shutil.disk_usage(folder) for folder in existing}
    fullest = min(usage, key=lambda folder: usage[folder].free)
    free, total = usage[fullest].free / _MIB, usage[fullest].total / _MIB
    return FullDiskError(
        object=f"disk of {fullest}",
        observed=f"{message}; {free:,.1f} of {total:,.1f} MiB are free after the unfinished files were removed",
        expected="free space for what a run writes before it publishes: about as much as it adds or replaces",
        next_step="free space there and run the asset again: published versions are kept, and it continues from them",
    )


def _message(error: BaseException | None) -> str | None:
    """The words that report a full disk, in the error or in one of its causes; None where there are none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "No space left on device" if error.errno == errno.ENOSPC else "Disk quota exceeded"
        if match := _MESSAGE.search(str(error)):
            return match.group()
        error = error.__cause__ or error.__context__
    return None
