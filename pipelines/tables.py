"""A table's name and version, and the names of the columns that the platform adds to tables."""

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
#: JSON object, as text, of the arrived values that have no column of their own.
RESCUED = "_rescued"
#: Key in that object: the text of a line that could not be read as a row of its file.
MALFORMED = "_malformed"
#: The decision of a person about a rejected row.
DECISION = "_decision"
#: The columns that every bronze row has in addition to those of its source.
BRONZE_COLUMNS = (RECORD_ID, SOURCE_URI, SOURCE_ROW, INGEST_ID, INGESTED_AT, PARTITION)


def quoted(name: str) -> str:
    """The name of a column as an identifier of SQL, for Spark, Sail and delta-rs."""
    return "`" + name.replace("`", "``") + "`"


@dataclass(frozen=True, slots=True, order=True)
class TableId:
    """A table's name, `zone/domain/table`.

    The Dagster asset key, the path of the Delta table below the lakehouse root and the name of the Feast source follow
    from it.
    """

    zone: Zone
    domain: str
    table: str

    @classmethod
    def parse(cls, name: str) -> TableId:
        """Reads `zone/domain/table`.

        Raises:
            NotFoundError: if there are not three parts, or the first is not a zone.
        """
        parts = name.split("/")
        if len(parts) != 3 or parts[0] not in ZONES or not all(parts):
            raise NotFoundError(
                object=f"table {name!r}",
                observed=f"{len(parts)} part(s), the first is {parts[0]!r}",
                expected=f"zone/domain/table with zone one of {', '.join(ZONES)}",
                next_step="use a name that `goldpath tables` lists",
            )
        return cls(parts[0], parts[1], parts[2])  # type: ignore[arg-type]

    @property
    def key(self) -> list[str]:
        """`[zone, domain, table]`, the Dagster asset key."""
        return [self.zone, self.domain, self.table]

    @property
    def source_name(self) -> str:
        """`zone_domain_table`, the name of the Feast source over this table."""
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
        """Reads `zone/domain/table@version`.

        Raises:
            NotFoundError: if the table or the version is missing or malformed.
        """
        name, _, version = text.partition("@")
        if not version.isdecimal():
            raise NotFoundError(
                object=f"table version {text!r}",
                observed=f"its version is {version!r}",
                expected="zone/domain/table@N with a number N",
                next_step="choose one of `goldpath tables history TABLE`",
            )
        return cls(TableId.parse(name), int(version))

    def __str__(self) -> str:
        return f"{self.table}@{self.version}"
