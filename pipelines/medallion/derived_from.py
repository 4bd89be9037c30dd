"""What a table was last derived from, so that a run does nothing where nothing changed.

A digest stands for everything that decides a table's rows: the versions or files of its inputs, its contract, and its
code. It is written after the commit: a run that is killed in between derives the same rows once more. A lost record, or
one of other rows, costs a run and never a row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError
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
        quarantine: The version of its quarantine then; None for a table without one.
        digests: What each part of the table, a day or all of it, was derived from.
        lost: The parts of a table that lost the version which the record describes, and perhaps others.
    """

    path: Path
    version: int | None = None
    quarantine: int | None = None
    digests: dict[str, str] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> DerivedFrom:
        """The record in a file; empty where there is none, or a damaged one."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, record["version"], record.get("quarantine"), dict(record["digests"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls(path)

    @classmethod
    def of(cls, platform: Platform, table: TableId) -> DerivedFrom:
        """The record of a table; empty where the table holds other rows than it describes."""
        path, house = platform.note_path(table), platform.lakehouse
        record = cls.read(path)
        if record.version is None:
            return cls(path)
        quarantine = TableId("quarantine", table.domain, table.table)
        for name, noted in ((table, record.version), (quarantine, record.quarantine)):
            newest = house.version(name)
            if noted is not None and (newest is None or newest < noted):
                return cls(path, lost=frozenset(record.digests))
        return record if time_travel.holds_the_rows_of(house, table, record.version) else cls(path)

    def require_all_lost(self, parts: Collection[str], table: TableId) -> None:
        """Raises NotFoundError if a table by days lost versions and a run over these days does not derive all of it."""
        if missing := self.lost.difference(parts):
            raise NotFoundError(
                object=f"table {table}",
                observed=f"it lost versions that runs had published; this run lacks {len(missing)} of its days",
                expected="every version that was published, or a run that derives all days again",
                next_step=f"goldpath materialize {table} --from {min(self.lost)} --to {max(self.lost)}",
            )

    def changed(self, digests: Mapping[str, str]) -> list[str]:
        """The parts whose digest differs from the recorded one."""
        return [part for part, digest in digests.items() if self.digests.get(part) != digest]

    def note(self, digests: Mapping[str, str], *, version: int | None, quarantine: int | None = None) -> None:
        """Records what the newest versions were derived from; parts that are not named keep their digests."""
        record = {"version": version, "quarantine": quarantine, "digests": self.digests | dict(digests)}
        files.replace(self.path, json.dumps(record))


def digest(*parts: Any) -> str:
    """One digest for values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
