"""Append-only log files in a folder: the complete lines that were written since the last delivery."""

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

#: A file is recognized by its inode and this many of its first bytes. File systems reuse an inode for another file.
HEAD_BYTES = 1024
_DAY = re.compile(r"(?<!\d)(\d{4}-\d\d-\d\d)(?!\d)")


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Lines of plain text or JSON, unchanged; for `increment` silver tables.

    A file whose name has a day in it, such as `2013-11-01.jsonl`, covers that day; the others land under the day of
    their extraction. A line without its line end is left for a later extraction.

    Rotation: a renamed file is continued where it was read to, if `pattern` covers its new name too, and the new file
    is read from its start. With copytruncate the truncated file is read from its start, and its copy is continued where
    the original was, if it is at least HEAD_BYTES long; a shorter copy lands a second time. Lines that are rotated out
    of the pattern, or compressed, before they are read are lost.

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

        The position has under `files`, by file name, the `inode`, the `offset` in bytes that was read to, and the
        `head`: a number of first bytes and their SHA-256.
        """
        folder = Path(str(connection)) / self.folder
        paths = [path for path in sorted(folder.glob(self.pattern)) if path.is_file()]
        read = _recognized({path: str(path.relative_to(folder)) for path in paths}, (position or {}).get("files", {}))
        for path in paths:
            name = str(path.relative_to(folder))
            day_in_name = _DAY.search(path.name)
            with _opened(path, read[name]["inode"]) as file:
                offset = read[name]["offset"]
                while content := _complete_lines(file, offset, self.bytes_per_file):
                    read[name] = _mark(file, offset + len(content))
                    yield Extracted(
                        day_in_name[1] if day_in_name else day(now),
                        f"{file_stem(path.stem)}_{offset:012d}{path.suffix}",
                        content,
                        content.count(b"\n"),
                        {"files": dict(read)},
                        {"file": name, "offset": offset},
                    )
                    offset += len(content)


def _recognized(names: Mapping[Path, str], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The mark of each file by its present name: a known one, found by inode or else by a copy's head, or a new one."""
    marks: dict[str, Mapping[str, Any]] = {}
    unmatched = list(known.values())
    for by_inode in (True, False):
        for path, name in names.items():
            if name in marks:
                continue
            with path.open("rb") as file:
                start = _mark(file, 0)
                for mark in unmatched:
                    alike = mark["inode"] == start["inode"] if by_inode else mark["head"][0] == HEAD_BYTES
                    if alike and _continues(file, mark):
                        marks[name] = {**mark, "inode": start["inode"]}
                        unmatched.remove(mark)
                        break
                else:
                    if not by_inode:
                        marks[name] = start
    return marks


def _continues(file: BinaryIO, mark: Mapping[str, Any]) -> bool:
    """Whether a file has the head of a marked one, and at least as many bytes as were read of that one."""
    length, sha256 = mark["head"]
    return os.fstat(file.fileno()).st_size >= mark["offset"] and _head(file, length) == sha256


def _mark(file: BinaryIO, offset: int) -> dict[str, Any]:
    """What a position keeps of a file that was read to an offset."""
    length = min(offset, HEAD_BYTES)
    return {"inode": os.fstat(file.fileno()).st_ino, "offset": offset, "head": [length, _head(file, length)]}


def _head(file: BinaryIO, length: int) -> str:
    file.seek(0)
    return hashlib.sha256(file.read(length)).hexdigest()


def _opened(path: Path, inode: int) -> BinaryIO:
    """The file at a path; raises TransientError if it has another inode by now."""
    file = path.open("rb")
    if os.fstat(file.fileno()).st_ino != inode:
        file.close()
        raise TransientError(
            object=f"log file {path}",
            observed="it was rotated since the folder was listed",
            expected="the file of that inode",
            next_step="run it again",
        )
    return file


def _complete_lines(file: BinaryIO, offset: int, limit: int) -> bytes:
    """Complete lines from an offset on: up to `limit` bytes of them, or more if the first line is longer than that."""
    file.seek(offset)
    content = b""
    while block := file.read(limit):
        content += block
        if (end := content.rfind(b"\n")) >= 0:
            return content[: end + 1]
    return b""
