"""Files that are replaced whole: a reader sees the old or the new content, and a killed writer leaves the old one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

Durability = Literal["process", "power"]


@contextlib.contextmanager
def replacing(path: Path, *, survives: Durability = "process") -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`, and renames it to `path` when the block ends without an error.

    The folder is created. If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: The file to create or to replace.
        survives: `process` is enough where a lost file is made again; `power` also syncs the file and its folder, so
            that the content is there after a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{threading.get_ident()}"
    try:
        yield temporary
        if survives == "power":
            sync(temporary)
        temporary.replace(path)
        if survives == "power":
            sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace(path: Path, content: str | bytes, *, survives: Durability = "process") -> None:
    """Writes a whole file, text as UTF-8; arguments as in `replacing`."""
    with replacing(path, survives=survives) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def secret(path: Path, make: Callable[[], str]) -> str:
    """The text of a file that only its owner may read; the first process that asks creates it with what `make` returns.

    Of several processes that create it at the same time one wins, and all return its text.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{os.getpid()}.{threading.get_ident()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(make())
        with contextlib.suppress(FileExistsError):  # a hard link is refused where another process was first
            path.hardlink_to(temporary)
        temporary.unlink()
    return path.read_text(encoding="utf-8").strip()


def sync(path: Path) -> None:
    """Writes a file's content, or a folder's list of names, through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
