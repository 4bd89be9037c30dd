"""What a table was last derived from, so that a run does nothing where nothing changed.

A digest stands for everything that decides a table's rows: the versions or files of its inputs, its contract, and its
code. It is written after the commit: a run that is killed in between derives the same rows once more. A lost record, or
one of other rows, costs a run and never a row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.lakehouse import time_travel
from pipelines.machine import files
from pipelines.tables import TableId

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


@dataclass(slots=True)
class DerivedFrom:
    """The record of one table.

    Attributes:
        path: Its file.
        version: The table's version that it describes.
        digests: What each part of the table, a day or all of it, was derived from.
    """

    path: Path
    version: int | None = None
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> DerivedFrom:
        """The record in a file; empty where there is none, or a damaged one."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, record["version"], dict(record["digests"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls(path)

    @classmethod
    def of(cls, platform: Platform, table: TableId) -> DerivedFrom:
        """The record of a table; empty where the table holds other rows than it describes."""
        path, house = platform.note_path(table), platform.lakehouse
        record = cls.read(path)
        exists = record.version is not None and house.version(table) is not None
        return record if exists and time_travel.holds_the_rows_of(house, table, record.version or 0) else cls(path)

    def changed(self, digests: Mapping[str, str]) -> list[str]:
        """The parts whose digest differs from the recorded one."""
        return [part for part, digest in digests.items() if self.digests.get(part) != digest]

    def note(self, digests: Mapping[str, str], *, version: int | None) -> None:
        """Records what the newest version was derived from; parts that are not named keep their digests."""
        files.replace(self.path, json.dumps({"version": version, "digests": self.digests | dict(digests)}))


def digest(*parts: Any) -> str:
    """One digest for values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
