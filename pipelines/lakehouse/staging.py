"""What a commit is made of: files that were computed and that no table names yet, and how they are to be published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One Parquet file that no table names yet; `partition` maps partition column to value."""

    path: Path
    partition: Mapping[str, str | None]
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Staged:
    """The computed, not yet visible content of a commit."""

    folder: Path
    schema: pa.Schema
    files: tuple[StagedFile, ...]
    partition_by: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def where(self, column: str, value: str) -> Staged:
        """The part whose partition column has that value, without the column."""
        files = tuple(
            StagedFile(f.path, {k: v for k, v in f.partition.items() if k != column}, f.rows, f.bytes)
            for f in self.files
            if f.partition[column] == value
        )
        return Staged(self.folder, self.schema, files, tuple(c for c in self.partition_by if c != column))

    def select(self, columns: Sequence[str]) -> Staged:
        """The same files under a narrower schema: readers see only these columns."""
        import pyarrow as pa

        schema = pa.schema([self.schema.field(name) for name in columns])
        return Staged(self.folder, schema, self.files, self.partition_by)


@dataclass(frozen=True, slots=True)
class Append:
    """Adds the staged rows. `app` and `batch` are the Delta app transaction: a batch is committed once."""

    app: str
    batch: int


@dataclass(frozen=True, slots=True)
class Merge:
    """Puts the staged rows in place of those with their key, where `newcomer_wins` (SQL over `old` and `new`) says so.

    The staged rows hold each whole key once; a row with a null in its key is added. `app` and `batch` as in `Append`.
    """

    key: tuple[str, ...]
    newcomer_wins: str
    app: str
    batch: int

    @property
    def matches(self) -> str:
        return " AND ".join(f"old.{name} = new.{name}" for name in self.key)


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Replaces the whole table, or only the given values of its partition column.

    With an `app`, the commit records the app transaction `app`, `batch`.
    """

    partitions: tuple[str, ...] | None = None
    app: str | None = None
    batch: int = -1


def gathered(parts: Sequence[Staged]) -> Staged:
    """Several stagings of one table as one, in the folder of the first."""
    first, *others = parts
    files = list(first.files)
    for number, part in enumerate(others):
        for file in part.files:
            folder = first.folder / file.path.relative_to(part.folder).parent
            folder.mkdir(parents=True, exist_ok=True)
            path = file.path.rename(folder / f"{number}_{file.path.name}")
            files.append(StagedFile(path, file.partition, file.rows, file.bytes))
    return Staged(first.folder, first.schema, tuple(files), first.partition_by)


def staged(folder: Path, df: DataFrame, partition_by: tuple[str, ...]) -> Staged:
    """What an engine wrote below a folder: the files that hold rows, under the schema of the frame."""
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
    schema = pa.schema([field.with_nullable(True) for field in to_arrow_schema(df.schema, timezone="UTC")])
    return Staged(folder, schema, tuple(files), partition_by)
