"""What a table was last derived from, so that a run with nothing new does nothing.

A digest stands for everything that decides a table's rows: the input's files or versions, the contract, and the code
of this project. It is noted after the commit, so a killed run derives the same rows once more; a lost or foreign note
costs time, never rows.
"""

from __future__ import annotations

import functools
import hashlib
import json
import marshal
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts.model import Contract
from pipelines.lakehouse import time_travel
from pipelines.settings import PROJECT
from pipelines.tables import TableId

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

#: The rooms whose code decides what a row becomes.
CODE = ("assets", "feature_repo", "pipelines")


@dataclass(slots=True)
class DerivedFrom:
    """The note of one table: the version that it is about, and a digest for each part of it, a day or the whole."""

    path: Path
    version: int | None = None
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> DerivedFrom:
        """The note, empty where there is none."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return cls(path)
        return cls(path, record["version"], record["digests"])

    @classmethod
    def of(cls, platform: Platform, table: TableId) -> DerivedFrom:
        """The note of a table; empty where the table has got other rows without it."""
        path, house = platform.note_path(table), platform.lakehouse
        note = cls.read(path)
        exists = note.version is not None and house.version(table) is not None
        return note if exists and time_travel.holds_the_rows_of(house, table, note.version or 0) else cls(path)

    def changed(self, digests: Mapping[str, str]) -> list[str]:
        """The parts that would be derived from something else now."""
        return [part for part, digest in digests.items() if self.digests.get(part) != digest]

    def note(self, digests: Mapping[str, str], *, version: int | None) -> None:
        """Writes down what the newest version was derived from."""
        record = {"version": version, "digests": self.digests | dict(digests)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(self.path)


def digest(*parts: Any) -> str:
    """One digest for values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def code_digest(contract: Contract, transform: Callable[..., Any]) -> str:
    """One digest for a table's contract, its transform, and the code that the transform may call."""
    compiled: Any = getattr(transform, "__code__", None)
    # In this version nothing depends on whether the code was just compiled or comes from a .pyc file.
    code = marshal.dumps(compiled, 2) if compiled else repr(transform).encode()
    return digest(contract.digest, hashlib.sha256(code).hexdigest(), _project_digest())


@functools.cache
def _project_digest() -> str:
    found = hashlib.sha256()
    for room in CODE:
        for path in sorted((PROJECT / room).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()
