"""A table's log, read without a reader of Delta tables: what is damaged, and the last version that is whole.

A reader of Delta tables fails on a damaged log without saying where, and takes an entry that is empty for a commit
without rows. A version is whole if a readable checkpoint, or the log's beginning, and every entry from there on are
intact, and each of its data files exists with its size and ends as a Parquet file does.
"""

from __future__ import annotations

import errno
import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import unquote

ENTRY = re.compile(r"(\d{20})\.json")
CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.\d{10}\.\d{10})?\.parquet")
HINT = "_last_checkpoint"
_PARQUET = b"PAR1"
#: The number of a log's newest entry, and the inode, size and time of change of its file: a later log, or another one,
#: differs.
LogState = tuple[int, int, int, int] | None
Read = TypeVar("Read")
#: Errors of a process, or a machine, that has too many files open: they say nothing of the file.
_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}
#: `ends`: a data file exists, has its size and ends as a Parquet file. `contents`: every value of it is read.
Depth = Literal["ends", "contents"]


@dataclass(frozen=True, slots=True)
class Damage:
    """One damaged or lost file, and what is wrong with it."""

    path: Path
    observed: str


class TableLog:
    """The log of the table in a folder, as its files are now.

    Attributes:
        entries: The entries by version.
        checkpoints: The checkpoints by version; one can consist of several files.
        hint: The file that names the last checkpoint; None for a log that is read without it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "_delta_log"
        self.hint: Path | None = self.log / HINT
        self._list()

    def _list(self) -> None:
        self.entries: dict[int, Path] = {}
        self.checkpoints: dict[int, list[Path]] = {}
        for path in sorted(self.log.iterdir()) if self.log.is_dir() else []:
            if match := ENTRY.fullmatch(path.name):
                self.entries[int(match[1])] = path
            elif match := CHECKPOINT.fullmatch(path.name):
                self.checkpoints.setdefault(int(match[1]), []).append(path)

    @property
    def newest(self) -> int:
        """The number of the newest version of which there is a file; -1 if there is none."""
        return max([*self.entries, *self.checkpoints], default=-1)

    def state(self) -> LogState:
        """What tells this log from a later one, and from that of a table which was made anew; None without an entry."""
        try:
            status = self._entry(self.newest).stat()
        except FileNotFoundError:
            return None
        return self.newest, status.st_ino, status.st_size, status.st_ctime_ns

    def damages(self, version: int | None = None) -> list[Damage]:
        """What is damaged in the files of the log that a reader of a version needs; None stands for the newest.

        Where a file is gone that was there, another process has shortened the log: it is listed again.
        """
        try:
            return self._damages(version)
        except FileNotFoundError:
            self._list()
            return self._damages(version)

    def _damages(self, version: int | None) -> list[Damage]:
        at = self.newest if version is None else version
        if at < 0:
            return [Damage(self.log, "it holds no version, though data files are there")] if self.has_data() else []
        base = max((v for v in self.checkpoints if v <= at), default=0)
        found = [damage for path in self.checkpoints.get(base, []) if (damage := _damage(path))]
        found += [hint] if (hint := self.hint_damage()) else []
        if base and base == self.newest and base not in self.entries:
            found.append(Damage(self._entry(base), "it is gone"))
        for number in range(base + 1 if base else 0, at + 1):
            path = self.entries.get(number)
            damage = Damage(self._entry(number), "it is gone") if path is None else _damage(path)
            found += [damage] if damage else []
        return found

    def damaged_checkpoints(self) -> list[int]:
        """The versions of the checkpoints that cannot be read."""
        return [version for version, paths in self.checkpoints.items() if any(map(_damage, paths))]

    def past_damages(self) -> list[Damage]:
        """What is damaged in the files of the log that only readers of older versions need."""
        needed = {damage.path for damage in self.damages()}
        paths = [*self.entries.values(), *(path for paths in self.checkpoints.values() for path in paths)]
        return [damage for path in paths if (damage := _damage(path)) and path not in needed]

    def has_data(self) -> bool:
        """Whether the table's folder holds data files."""
        return any("_delta_log" not in path.parts for path in self.folder.rglob("*.parquet"))

    def hint_damage(self) -> Damage | None:
        """What is wrong with the file that names the last checkpoint; without the file readers list the log."""
        if (path := self.hint) is None or not path.exists():
            return None
        try:
            hinted = json.loads(path.read_bytes())["version"]
        except (ValueError, KeyError, TypeError):
            return Damage(path, "it does not name a checkpoint")
        if hinted in self.checkpoints:
            return None
        return Damage(self.log / f"{hinted:020d}.checkpoint.parquet", f"it is gone, and {HINT} names it")

    def files(self, version: int) -> dict[str, int]:
        """The data files of a version whose log is intact: path below the table's folder to size in bytes."""
        base = max((v for v in self.checkpoints if v <= version), default=0)
        files: dict[str, int] = {}
        paths = [
            *(self.checkpoints.get(base, []) if base else []),
            *(self.entries[number] for number in range(base + 1 if base else 0, version + 1)),
        ]
        for path in paths:
            for name, size in _once(_changes, path):
                if size is None:
                    files.pop(name, None)
                else:
                    files[name] = size
        return files

    def data_damages(self, version: int, depth: Depth = "ends") -> list[Damage]:
        """What is damaged among the data files of a version whose log is intact."""
        paths = {self.folder / name: size for name, size in self.files(version).items()}
        return [Damage(path, wrong) for path, size in paths.items() if (wrong := _data_damage(path, size, depth))]

    def last_whole(self, depth: Depth = "ends") -> int | None:
        """The newest version whose log and data files are whole; None if there is none."""
        for version in range(self.newest, -1, -1):
            if not self.damages(version) and not self.data_damages(version, depth):
                return version
        return None

    def _entry(self, version: int) -> Path:
        return self.log / f"{version:020d}.json"


def read_entry(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the actions of one entry; raises ValueError, in words, if it is damaged."""
    lines = path.read_bytes().splitlines()
    if not lines:
        raise ValueError("it is empty")
    for number, line in enumerate(lines, start=1):
        try:
            action = json.loads(line)
        except ValueError:
            action = None
        if not isinstance(action, dict):
            raise ValueError(f"its line {number} is not a JSON object")
        yield action


def _once(read: Callable[[Path, int, int], Read], path: Path) -> Read:
    """What `read` says of a file, for which it is asked once in a process while the file does not change."""
    status = path.stat()
    return read(path, status.st_size, status.st_ctime_ns)


def _damage(path: Path) -> Damage | None:
    """What is wrong with an entry or a checkpoint."""
    try:
        _once(_require_intact, path)
    except ValueError as error:
        return Damage(path, str(error))
    return None


@functools.lru_cache(maxsize=10_000)
def _require_intact(path: Path, size: int, _changed_ns: int) -> None:
    """Raises ValueError, in words, if an entry or a checkpoint is damaged; that is looked at again each time."""
    if not ENTRY.fullmatch(path.name):
        if observed := _data_damage(path, size, "contents"):
            raise ValueError(observed)
    elif "commitInfo" not in {name for action in read_entry(path) for name in action}:
        raise ValueError("it lacks the line that describes the commit")


@functools.lru_cache(maxsize=1_000)
def _changes(path: Path, _size: int, _changed_ns: int) -> tuple[tuple[str, int | None], ...]:
    """The data files that an entry or a checkpoint adds, each with its size, and those that it removes, with None."""
    if not ENTRY.fullmatch(path.name):
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as parquet:  # read_table would import pandas, which takes half a second
            added = parquet.read(["add.path", "add.size"])["add"].to_pylist()
        return tuple((unquote(add["path"]), add["size"]) for add in added if add and add["path"])
    changes: list[tuple[str, int | None]] = []
    for action in read_entry(path):
        if remove := action.get("remove"):
            changes.append((unquote(remove["path"]), None))
        elif add := action.get("add"):
            changes.append((unquote(add["path"]), add["size"]))
    return tuple(changes)


def _data_damage(path: Path, size: int, depth: Depth) -> str:
    """What is wrong with a Parquet file that should have a size; empty if nothing is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        status = path.stat()
        if status.st_size != size:
            return f"it has {status.st_size:,} bytes instead of {size:,}"
        if not _ends_as_parquet(path, size, status.st_ctime_ns):
            return "it is not a Parquet file"
        if depth == "contents":
            with pq.ParquetFile(path) as parquet:
                for _ in parquet.iter_batches():
                    pass
    except FileNotFoundError:
        return "it is gone"
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno in _TOO_MANY_OPEN:
            raise
        return f"it cannot be read: {error}"
    return ""


@functools.lru_cache(maxsize=100_000)
def _ends_as_parquet(path: Path, size: int, _changed_ns: int) -> bool:
    with path.open("rb") as file:
        file.seek(max(size - len(_PARQUET), 0))
        return file.read() == _PARQUET
