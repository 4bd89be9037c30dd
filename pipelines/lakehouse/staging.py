"""The parts of a commit: staged files, and how their rows enter the table (append, merge or overwrite)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One Parquet file that no table names yet.

    Attributes:
        path: Where it is.
        partition: Each partition column's value.
        rows: The number of its rows.
        bytes: Its size.
        nulls: Of the columns that were counted, the number of rows without a value.
    """

    path: Path
    partition: Mapping[str, str | None]
    rows: int
    bytes: int
    nulls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staged:
    """The computed rows of a commit, not yet visible to readers.

    Attributes:
        folder: The folder below which the files lie.
        schema: All columns, also those of the partition.
        files: The files; each has at least one row.
        partition_by: The partition columns, outermost first.
        only: What `where` selected the files by, column and value: others lie in the folder too.
    """

    folder: Path
    schema: pa.Schema
    files: tuple[StagedFile, ...]
    partition_by: tuple[str, ...]
    only: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def where(self, column: str, value: str) -> Staged:
        """The files whose partition column has the value; the rows do not have it any more."""
        files = tuple(
            replace(f, partition={k: v for k, v in f.partition.items() if k != column})
            for f in self.files
            if f.partition[column] == value
        )
        schema = self.schema.remove(self.schema.get_field_index(column))
        partition_by = tuple(name for name in self.partition_by if name != column)
        return Staged(self.folder, schema, files, partition_by, (*self.only, (column, value)))

    def select(self, columns: Sequence[str]) -> Staged:
        """The same files with a schema of only these columns."""
        import pyarrow as pa

        return replace(self, schema=pa.schema([self.schema.field(name) for name in columns]))


@dataclass(frozen=True, slots=True)
class Append:
    """Adds the staged rows.

    `app` and `batch` are recorded as a Delta app transaction: a batch that the app has committed is not added again.
    """

    app: str
    batch: int


@dataclass(frozen=True, slots=True)
class Merge:
    """Updates the rows with the key of a staged row, and adds the staged rows whose key the table does not hold.

    Each key stands in at most one staged row, and no key has a null.

    Attributes:
        same_key: The SQL condition over the rows `old` and `new` under which both have one key.
        newcomer_wins: The SQL condition over the rows `old` and `new` under which the staged row replaces the other.
        key: The columns of the first condition, each of them compared with itself.
        compared: The columns of the second condition.
        app: As in `Append`.
        batch: As in `Append`.
    """

    same_key: str
    newcomer_wins: str
    key: tuple[str, ...]
    compared: tuple[str, ...]
    app: str
    batch: int


@dataclass(frozen=True, slots=True)
class Replace:
    """Removes the rows that have one of the values in a text column, and adds the staged rows, which have one too.

    The table exists. `app` and `batch` are as in `Append`.
    """

    column: str
    values: tuple[str, ...]
    app: str
    batch: int


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Replaces all rows of the table, or only those in the given values of its first partition column.

    With an `app`, the commit records the app transaction `app`, `batch`.
    """

    partitions: tuple[str, ...] | None = None
    app: str | None = None
    batch: int = -1


#: How the rows of a commit enter its table.
Write = Append | Merge | Replace | Overwrite


def gathered(parts: Sequence[Staged]) -> tuple[Staged, list[Staged]]:
    """Several stagings of one table as one, and each of them, with the files moved into the folder of the first."""
    first = parts[0]
    moved = [first]
    for number, part in enumerate(parts[1:]):
        files = []
        for file in part.files:
            folder = first.folder / file.path.relative_to(part.folder).parent
            folder.mkdir(parents=True, exist_ok=True)
            files.append(replace(file, path=file.path.rename(folder / f"{number}_{file.path.name}")))
        moved.append(replace(first, files=tuple(files)))
    return replace(first, files=tuple(file for part in moved for file in part.files)), moved


def staged(folder: Path, schema: StructType, partition_by: tuple[str, ...]) -> Staged:
    """The files with rows that an engine wrote below a folder, with a schema, all columns nullable."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql.pandas.types import to_arrow_schema

    files = []
    for path in sorted(folder.rglob("*.parquet")):
        parts = [part.partition("=") for part in path.relative_to(folder).parts[:-1]]
        partition = {k: None if v == "__HIVE_DEFAULT_PARTITION__" else unquote(v) for k, _, v in parts}
        rows = pq.read_metadata(path).num_rows
        if rows:
            files.append(StagedFile(path, partition, rows, path.stat().st_size))
    columns = pa.schema([field.with_nullable(True) for field in to_arrow_schema(schema, timezone="UTC")])
    return Staged(folder, columns, tuple(files), partition_by)
