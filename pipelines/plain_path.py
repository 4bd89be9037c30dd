"""Plain paths: letters, digits and `/._+-` only, which every library takes.

Libraries make addresses of paths (`sqlite:///…`, `file://…`), and several of them, Sail among them, fail on a space,
`#`, `?`, `%` or a letter beyond ASCII there. A folder with such a path is reached through a symbolic link with a plain
path: a way for the processes of one user on one machine, which each of them creates if it is gone. No table and no
setting names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from pathlib import Path

from pipelines.errors import SettingsError

#: Where the folder of a user's links lies: not where TMPDIR points, since it differs between the processes of a user.
TEMPORARY = Path("/tmp")

_ODD = re.compile(r"[^A-Za-z0-9/._+-]")
#: What delta-rs and Sail take in no way, since they follow the link and make an address of what it leads to.
_IMPOSSIBLE = re.compile(r"[\[\]\\^|\x00-\x1f\x7f\ud800-\udfff]|%[0-9A-Fa-f]{2}")
_NEXT_STEP = "set {variable} to a path of letters A to Z, digits, and any of . _ + -"


def plain(folder: Path) -> Path:
    """A plain absolute path that leads to the home folder: its own, or a link's.

    For one folder it is the same in each process of this user. A folder that is reached by a link is created.

    Raises:
        SettingsError: if the path has characters with which no table can be written, or the link cannot be created.
    """
    folder = folder.absolute()
    path = str(folder)
    if not _ODD.search(path):
        return folder
    if impossible := _IMPOSSIBLE.search(path):
        raise _refusal(
            folder,
            f"{impossible[0]!r} in its path, with which no table can be read",
            "a path without brackets, backslash, ^, |, control characters, or % before two hexadecimal digits",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)  # through a link that leads to nothing no folder can be created
        link = private_folder(TEMPORARY / f"goldpath-{os.getuid()}") / hashlib.sha256(path.encode()).hexdigest()[:16]
        with contextlib.suppress(FileExistsError):  # an earlier process has created it, or another one does now
            link.symlink_to(path, target_is_directory=True)
        target = link.readlink()
    except OSError as error:
        what = f"it, or the link to it in {TEMPORARY}, cannot be created: {error}"
        raise _refusal(folder, what, "a folder that this user can create") from None
    if target != folder:
        raise _refusal(folder, f"the link to it, {link}, leads to {target}", "a link to this folder")
    return link


def require_plain(folder: Path, *, variable: str) -> Path:
    """The folder, if its path is plain: for one that other machines reach, too, which have no link to it.

    Raises:
        SettingsError: if the path has another character; it names it, and the variable to set.
    """
    if odd := _ODD.search(str(folder)):
        raise _refusal(
            folder,
            f"{odd[0]!r} in its path",
            "letters A to Z, digits, and any of . _ + - in the path of tables that several machines reach",
            variable=variable,
        )
    return folder


def private_folder(folder: Path) -> Path:
    """Creates a folder that only this user may read and change, if there is none, and returns it.

    Raises:
        SettingsError: if there is one that is another user's, or a link, or that others have rights on.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise SettingsError(
            object=f"folder {folder}",
            observed="it is no folder of this user's alone: another one owns it, has rights on it, or it is a link",
            expected="a folder with the rights 0700, for the links to homes whose paths not every library takes",
            next_step="remove it, or " + _NEXT_STEP.format(variable="GOLDPATH_HOME"),
        )
    return folder


def _refusal(folder: Path, observed: str, expected: str, *, variable: str = "GOLDPATH_HOME") -> SettingsError:
    return SettingsError(
        object=f"folder {str(folder)!r}",
        observed=observed,
        expected=expected,
        next_step=_NEXT_STEP.format(variable=variable),
    )
