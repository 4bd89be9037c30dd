"""Append-only log files of a folder: the complete lines that were written since the last delivery."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.errors import TransientError
from pipelines.sources.base import Extracted, day, file_stem

#: A file is known again by its inode and by its first bytes; an inode alone is given to another file later.
HEAD_BYTES = 1024
_DAY = re.compile(r"(?<!\d)(\d{4}-\d\d-\d\d)(?!\d)")


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Lines of plain text or JSON, as they are; for `increment` silver tables.

    A file whose name has a day in it, such as `2013-11-01.jsonl`, covers that day; others land under the day of their
    delivery. A line that is still being written waits for its end.

    Rotation: a file that was renamed goes on where it was read to, if `pattern` covers its new name too, and the new
    file begins at its start. A file that was copied away and truncated (copytruncate) begins at its start again, and
    its copy goes on where the original was, if it is at least HEAD_BYTES long; a shorter copy lands twice rather than
    not at all. What is rotated out of the pattern or compressed before it was read cannot be seen.

    Args:
        folder: Folder of the files; below the platform's home if it is relative.
        pattern: Which files, as `Path.glob` reads it.
        bytes_per_file: Bytes after which a delivery ends and the next begins; a longer line is one delivery.
    """

    folder: Path
    pattern: str = "*.log*"
    bytes_per_file: int = 64 << 20
    kind: str = "log"
    connection: None = None

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The new complete lines, file by file in the order of their names.

        The position has, by file name, its inode, the offset in bytes that was read to, and its head: how many of its
        first bytes have which SHA-256.
        """
        folder = Path(str(connection)) / self.folder
        paths = [path for path in sorted(folder.glob(self.pattern)) if path.is_file()]
        read = _recognised({path: str(path.relative_to(folder)) for path in paths}, (position or {}).get("files", {}))
        for path in paths:
            name = str(path.relative_to(folder))
            found = _DAY.search(path.name)
            with _opened(path, read[name]["inode"]) as file:
                offset = read[name]["offset"]
                while content := _complete_lines(file, offset, self.bytes_per_file):
                    read[name] = _mark(file, offset + len(content))
                    yield Extracted(
                        found[1] if found else day(now),
                        f"{file_stem(path.stem)}_{offset:012d}{path.suffix}",
                        content,
                        content.count(b"\n"),
                        {"files": dict(read)},
                        {"file": name, "offset": offset},
                    )
                    offset += len(content)


def _recognised(names: Mapping[Path, str], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Where each file was read to, by its name now: by inode first, then copies; others are new."""
    found: dict[str, Mapping[str, Any]] = {}
    left = list(known.values())
    for by_inode in (True, False):
        for path, name in names.items():
            if name in found:
                continue
            with path.open("rb") as file:
                now = _mark(file, 0)
                for mark in left:
                    alike = mark["inode"] == now["inode"] if by_inode else mark["head"][0] == HEAD_BYTES
                    if alike and _begins(file, mark):
                        found[name] = {**mark, "inode": now["inode"]}
                        left.remove(mark)
                        break
                else:
                    if not by_inode:
                        found[name] = now
    return found


def _begins(file: BinaryIO, mark: Mapping[str, Any]) -> bool:
    """Whether a file has the head of one that was read, and is as long as it was read."""
    length, sha256 = mark["head"]
    return os.fstat(file.fileno()).st_size >= mark["offset"] and _head(file, length) == sha256


def _mark(file: BinaryIO, offset: int) -> dict[str, Any]:
    length = min(offset, HEAD_BYTES)
    return {"inode": os.fstat(file.fileno()).st_ino, "offset": offset, "head": [length, _head(file, length)]}


def _head(file: BinaryIO, length: int) -> str:
    file.seek(0)
    return hashlib.sha256(file.read(length)).hexdigest()


def _opened(path: Path, inode: int) -> BinaryIO:
    """The file, if it is still the one that was recognised."""
    file = path.open("rb")
    if os.fstat(file.fileno()).st_ino != inode:
        file.close()
        raise TransientError(
            object=f"log file {path}",
            observed="it was rotated while it was being looked at",
            expected="the file that it was a moment before",
            next_step="run it again",
        )
    return file


def _complete_lines(file: BinaryIO, offset: int, most: int) -> bytes:
    """Lines from an offset on, whole: about `most` bytes of them, or one line that is longer."""
    file.seek(offset)
    content = b""
    while block := file.read(most):
        content += block
        if (end := content.rfind(b"\n")) >= 0:
            return content[: end + 1]
    return b""
