"""Documents in a folder: files of any bytes, each a delivery of its own."""

from __future__ import annotations

import hashlib
import mimetypes
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.sources.base import Extracted, day, file_stem


@dataclass(frozen=True, slots=True)
class Documents:
    """The files below a folder that were added or changed since the last delivery.

    They are taken in the order of their change time (ctime), which the file system sets and a copy does not preserve.
    So a new file with an old modification time is seen too. The manifest has the file's `name`, which is its path below
    the folder, and the `media_type` that the name stands for. Links and files whose name begins with a dot are ignored.

    Args:
        folder: Folder of the files; below the platform's home if it is relative.
        pattern: Which files, as a pattern of `Path.glob`.
        settle: How long a file must be unchanged before it is taken, since it may still be written to.
    """

    folder: Path
    pattern: str = "**/*"
    settle: timedelta = timedelta(seconds=5)
    kind: str = "file"
    connection: None = None

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The new and changed files, oldest change first.

        The position has the newest change time that was taken, in nanoseconds (`changed_ns`), and the names of the
        files of that time (`taken`).
        """
        folder = Path(str(connection)) / self.folder
        settled = time.time_ns() - int(self.settle.total_seconds() * 1e9)
        until, taken = (position or {}).get("changed_ns", 0), list((position or {}).get("taken", []))
        for changed, name in sorted(self._files(folder)):
            if changed > settled or changed < until or (changed == until and name in taken):
                continue
            until, taken = changed, [*(taken if changed == until else []), name]
            with tempfile.TemporaryDirectory() as temporary:
                copy = Path(temporary) / "document"
                if not _copied(folder / name, copy, changed):
                    continue
                with copy.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                path = Path(name)
                yield Extracted(
                    day(now),
                    f"{file_stem(path.stem)}_{sha256[:12]}{path.suffix}",
                    copy,
                    1,
                    {"changed_ns": until, "taken": taken},
                    {"name": name, "media_type": mimetypes.guess_type(name)[0] or "application/octet-stream"},
                )

    def _files(self, folder: Path) -> Iterator[tuple[int, str]]:
        """Change time in nanoseconds and path of each file below the folder."""
        for path in folder.glob(self.pattern):
            status = path.lstat()
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                yield status.st_ctime_ns, path.relative_to(folder).as_posix()


def _copied(path: Path, copy: Path, changed: int) -> bool:
    """Copies a file, and returns whether it had the given change time throughout.

    A file that has changed is taken by a later extraction, with its new time.
    """
    try:
        shutil.copyfile(path, copy)
        return path.stat().st_ctime_ns == changed
    except FileNotFoundError:
        return False
