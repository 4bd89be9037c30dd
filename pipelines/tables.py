"""A table's name: one triple from which its key, its path and its feature source name follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pipelines.errors import NotFoundError

Zone = Literal["bronze", "silver", "quarantine", "gold", "ops"]
ZONES: tuple[Zone, ...] = get_args(Zone)

RECORD_ID = "_record_id"
SOURCE_URI = "_source_uri"
SOURCE_ROW = "_source_row"
INGEST_ID = "_ingest_id"
INGESTED_AT = "_ingested_at"
PARTITION = "_partition"
#: JSON text of what arrived and has no column of its own, and within it the line that is not a row of its file.
RESCUED = "_rescued"
MALFORMED = "_malformed"
#: What a person decided about a rejected row.
DECISION = "_decision"
#: What every bronze row carries beside the columns of its source.
BRONZE_COLUMNS = (RECORD_ID, SOURCE_URI, SOURCE_ROW, INGEST_ID, INGESTED_AT, PARTITION)


@dataclass(frozen=True, slots=True, order=True)
class TableId:
    """`[zone, domain, table]`: a Dagster asset key, a Delta path below the lakehouse root and a Feast source name."""

    zone: Zone
    domain: str
    table: str

    @classmethod
    def parse(cls, name: str) -> TableId:
        """Reads `zone/domain/table`.

        Raises:
            NotFoundError: if there are not three parts, or the first is no zone.
        """
        parts = name.split("/")
        if len(parts) != 3 or parts[0] not in ZONES or not all(parts):
            raise NotFoundError(
                object=f"table {name!r}",
                observed=f"{len(parts)} part(s), the first is {parts[0]!r}",
                expected=f"zone/domain/table with zone one of {', '.join(ZONES)}",
                next_step="name it as `goldpath tables` lists it",
            )
        return cls(parts[0], parts[1], parts[2])  # type: ignore[arg-type]

    @property
    def key(self) -> list[str]:
        return [self.zone, self.domain, self.table]

    @property
    def source_name(self) -> str:
        """The name of the Feast source over this table."""
        return "_".join(self.key)

    def __str__(self) -> str:
        return "/".join(self.key)


@dataclass(frozen=True, slots=True)
class TableVersion:
    """One committed state of a table."""

    table: TableId
    version: int

    @classmethod
    def parse(cls, text: str) -> TableVersion:
        """Reads `zone/domain/table@version`; raises NotFoundError."""
        name, _, version = text.partition("@")
        if not version.isdecimal():
            raise NotFoundError(
                object=f"table version {text!r}",
                observed=f"{version!r} for its version",
                expected="zone/domain/table@N",
                next_step="choose one of `goldpath tables history TABLE`",
            )
        return cls(TableId.parse(name), int(version))

    def __str__(self) -> str:
        return f"{self.table}@{self.version}"
