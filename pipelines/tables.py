"""A table's name and version, and the names of the columns that the platform adds to tables."""

from __future__ import annotations

import keyword
import re
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
DECIDED_AT = "_decided_at"
DECIDED_BY = "_decided_by"
#: A rejected row as it arrived, as JSON, with the rules that it broke; and whether a row is clean.
ROW = "_row"
REASONS = "_reasons"
VERDICT = "_verdict"
#: The columns that every bronze row has in addition to those of its source.
BRONZE_COLUMNS = (RECORD_ID, SOURCE_URI, SOURCE_ROW, INGEST_ID, INGESTED_AT, PARTITION)

#: The ending of the additional column that keeps a text which the type of a column cannot hold.
VARIANT_SUFFIX = "__v_string"
#: The columns that rows have while they are judged, merged or joined; `_read`, `_broken` and `_set_` are followed by a
#: number.
READ = "_read"
BROKEN = "_broken"
RANK = "_rank"
SAME_SPELLING = "_same_spelling"
STAYS = "_stays"
_RESERVED = re.compile(
    "|".join(
        [
            *BRONZE_COLUMNS, RESCUED, MALFORMED, DECISION, DECIDED_AT, DECIDED_BY, ROW, REASONS, VERDICT, RANK,
            SAME_SPELLING, STAYS, rf"({BROKEN}|{READ})\d+", r"_(set|to)_\d+", "_(known|asof)_.*", "_seconds",
            "_metadata", "_change_type", "_commit_version", "_commit_timestamp", f".*{VARIANT_SUFFIX}",
        ]
    ),
    re.IGNORECASE,
)  # fmt: skip


def reserved(column: str) -> bool:
    """Whether the platform, Delta or Spark gives this name to columns of their own; case makes no difference."""
    return _RESERVED.fullmatch(column) is not None


#: A domain or a table: it names Python modules and functions, and is joined with others by underscores.
_NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*_?", re.ASCII)


def require_name(what: str, name: str, next_step: str) -> None:
    """Raises NotFoundError unless a domain or a table can have this name; `what` is the object of the error."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise NotFoundError(
            object=what,
            observed=f"{name!r}, which {'is a word of Python' if keyword.iskeyword(name) else 'is no name'}",
            expected="a domain and a table of letters, digits and single underscores, the first a letter, "
            "since they name Python modules and functions",
            next_step=next_step,
        )


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
            NotFoundError: if there are not three parts, the first is not a zone, or another is no name in Python.
        """
        parts = name.split("/")
        if len(parts) != 3 or parts[0] not in ZONES or not all(parts):
            raise NotFoundError(
                object=f"table {name!r}",
                observed=f"{len(parts)} part(s), the first is {parts[0]!r}",
                expected=f"zone/domain/table with zone one of {', '.join(ZONES)}",
                next_step="use a name that `goldpath tables` lists",
            )
        for part in parts[1:]:
            require_name(
                f"table {name!r}", part,
                "use a name that `goldpath tables` lists, or name a new table so; "
                "what landed under another name is moved to a folder of the new one",
            )  # fmt: skip
        return cls(parts[0], parts[1], parts[2])  # type: ignore[arg-type]

    @property
    def key(self) -> list[str]:
        """`[zone, domain, table]`, the Dagster asset key."""
        return [self.zone, self.domain, self.table]

    @property
    def source_name(self) -> str:
        """`zone_domain_table`, which names the Feast source over this table, and its files outside the lakehouse.

        Underscores of the domain are doubled, so no two tables have one: `bronze_shop__eu_orders` is that of
        `bronze/shop_eu/orders`, `bronze_shop_eu_orders` that of `bronze/shop/eu_orders`.
        """
        return "_".join([self.zone, self.domain.replace("_", "__"), self.table])

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
