"""Documents of a folder: files of any bytes, each a delivery of its own."""

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
    """The files below a folder that were put there or changed since the last delivery.

    They are taken in the order of their change time (ctime), which the file system sets and no copy keeps, so a file
    with an old modification time is seen too. The manifest has the original `name`, the path below the folder, and the
    `media_type` that the name stands for. Links and files whose name begins with a dot are left alone.

    Args:
        folder: Folder of the files; below the platform's home if it is relative.
        pattern: Which files, as `Path.glob` reads it.
        settle: How long a file has to lie there unchanged: what is still being written is not taken.
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

        The position has the change time in nanoseconds up to which files were taken, and which of that very time.
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
        for path in folder.glob(self.pattern):
            status = path.lstat()
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                yield status.st_ctime_ns, path.relative_to(folder).as_posix()


def _copied(path: Path, copy: Path, changed: int) -> bool:
    """Copies a file as it was at a change time; one that was changed since comes with its new time, or is gone."""
    try:
        shutil.copyfile(path, copy)
        return path.stat().st_ctime_ns == changed
    except FileNotFoundError:
        return False
