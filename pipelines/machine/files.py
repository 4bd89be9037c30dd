"""Atomic replacement of files: a reader sees the old or the new content, and a killed writer leaves the old content.

A replaced file keeps its mode. A link stays a link: the file that it leads to is replaced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pipelines.errors import SettingsError

Durability = Literal["process", "power"]
#: The rights of a group and of others, which no file and folder of a home has.
PRIVATE = 0o077
#: The folder of damaged files, below the folder that they were in.
DAMAGED = "damaged"


@contextlib.contextmanager
def replacing(path: Path, *, survives: Durability = "process") -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`, and renames it to `path` when the block ends without an error.

    The folder is created. If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: The file to create or to replace.
        survives: `process`: the content survives the end of this process, enough for a file that can be computed
            again. `power`: it survives a power cut, too; the file and its folder are synced to the disk.
    """
    path = path.resolve() if path.is_symlink() else path
    temporary = _temporary(path)
    try:
        yield temporary
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        if survives == "power":
            sync(temporary)
        temporary.replace(path)
        if survives == "power":
            sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    """A path for this thread's next content of `path`, in the same folder, which is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent / f".{path.name}.{os.getpid()}.{threading.get_ident()}"


def replace(path: Path, content: str | bytes, *, survives: Durability = "process") -> None:
    """Replaces the content of a file, text as UTF-8; arguments as in `replacing`."""
    with replacing(path, survives=survives) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_privately() -> None:
    """Lets this process and its later children create files and folders that only their owner may read (umask 077)."""
    os.umask(PRIVATE)


def set_aside(path: Path, *, root: Path, how: Literal["move", "copy"] = "move") -> Path:
    """Moves a file or a folder to `damaged/` below `root`, under its path and the time; returns the new path.

    With `copy` the file, which is none of a folder, stays where it is too.
    """
    target = root / DAMAGED / path.relative_to(root)
    target = target.with_name(f"{target.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "copy":
        shutil.copy2(path, target)
    else:
        path.rename(target)
    return target


def create(texts: Mapping[Path, str]) -> None:
    """Creates new files for people to edit: all of them, or none if one of them exists or cannot be written.

    Raises:
        SettingsError: if one of them exists.
    """
    require_new(texts)
    replace_all(texts)


def require_new(paths: Iterable[Path]) -> None:
    """Raises SettingsError if one of these files exists."""
    for path in paths:
        if path.exists():
            raise SettingsError(
                object=f"file {path}",
                observed="it exists",
                expected="no file of that name: an existing file is never overwritten",
                next_step="choose another name or folder, or move the file away",
            )


def replace_all(texts: Mapping[Path, str]) -> None:
    """Creates or replaces files for people to edit, new ones with the usual mode: all of them, or none if one cannot be
    written.
    """
    with contextlib.ExitStack() as stack:
        for path, text in texts.items():
            temporary = stack.enter_context(replacing(path))
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(0o644)


def secret(path: Path, make: Callable[[], str]) -> str:
    """The text of a file that only its owner may read, without surrounding white space.

    Where there is no such file, it is created with the text that `make` returns. Of several processes that create it
    at the same time one succeeds, and all return its text.

    Raises:
        SettingsError: if the file is empty.
    """
    if not path.exists():
        temporary, text = _temporary(path), make()
        try:
            with os.fdopen(
                os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(text)
            with contextlib.suppress(FileExistsError):  # another process was first
                path.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)
    if text := path.read_text(encoding="utf-8").strip():
        return text
    raise SettingsError(
        object=f"file {path}",
        observed="it is empty",
        expected="a secret",
        next_step="remove the file: a new one is created with a new secret",
    )


def sync(path: Path) -> None:
    """Waits until the content of a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
