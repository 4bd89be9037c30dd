"""The tables below a root folder and their versions, read with delta-rs: no engine is started."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipelines.errors import DamagedError, NotFoundError
from pipelines.lakehouse.table_log import Damage, LogState, TableLog
from pipelines.tables import PARTITION, ZONES, TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import DeltaTable


log = logging.getLogger(__name__)


def text(name: str) -> ds.Expression:
    """A text column for a filter of `Snapshot.arrow`.

    It is cast, since delta-rs writes the text of merged rows in an Arrow type that Arrow compares with no other type.
    """
    import pyarrow.dataset as ds

    return ds.field(name).cast("string")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of one table, opened by delta-rs; `folder` is the table's folder."""

    at: TableVersion
    folder: Path
    delta: DeltaTable

    @property
    def files(self) -> list[Path]:
        """The version's data files."""
        import pyarrow as pa

        paths = pa.table(self.delta.get_add_actions())["path"].to_pylist()
        return [self.folder / unquote(path) for path in paths]

    @property
    def bytes(self) -> int:
        """The size of its data files, in bytes."""
        return sum(self.delta.get_add_actions(flatten=True)["size_bytes"].to_pylist())

    @property
    def rows(self) -> int:
        """The number of its rows."""
        return self.delta.count()

    def batch(self, app: str) -> int:
        """The last batch that the app had committed up to this version, by its app transaction; -1 if none."""
        version = self.delta.transaction_version(app)
        return -1 if version is None else version

    def partition_rows(self, column: str) -> dict[str, int]:
        """The number of rows for each value of a partition column, read from the table's log without its data files."""
        import pyarrow as pa

        files = pa.table(self.delta.get_add_actions(flatten=True))
        counts: dict[str, int] = {}
        for value, rows in zip(files[f"partition.{column}"].to_pylist(), files["num_records"].to_pylist(), strict=True):
            counts[value] = counts.get(value, 0) + (rows or 0)
        return counts

    def lacks(self, column: str, *, parts: Collection[str] | None = None) -> bool:
        """Whether the log says that no row has a value in a column.

        Args:
            column: The name of the column.
            parts: The intervals whose rows count, "" for rows without one; None for all rows.
        """
        import pyarrow as pa

        files = pa.table(self.delta.get_add_actions(flatten=True))
        names = (f"null_count.{column}", "num_records", f"partition.{PARTITION}")
        known = [files[name].to_pylist() if name in files.column_names else [None] * files.num_rows for name in names]
        wanted = parts if parts is None else set(parts)
        return all(
            nulls is not None and nulls == rows
            for nulls, rows, interval in zip(*known, strict=True)
            if wanted is None or (interval or "") in wanted
        )

    def arrow(self, *, columns: Sequence[str] | None = None, where: Any = None) -> pa.Table:
        """The version's rows in memory, for small results and look-ups.

        Args:
            columns: The names of the columns to read; None reads all.
            where: A pyarrow.dataset filter; wrap its text columns in `text`.

        Raises:
            NotFoundError: if files of an older version were vacuumed.
            DamagedError: if a data file is damaged, or one of the newest version is gone.
        """
        with self._damage_named():
            return self._dataset().to_table(columns=list(columns) if columns else None, filter=where)

    def sample(self, rows: int) -> pa.Table:
        """The first rows in the order of the version's files; errors as in `arrow`."""
        with self._damage_named():
            return self._dataset().head(rows)

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        """Names the damaged or lost data file where reading fails because of one."""
        import pyarrow as pa

        try:
            yield
        except (OSError, pa.ArrowException):
            self.require_readable()
            if damages := TableLog(self.folder).data_damages(self.at.version, "contents"):
                raise damaged(self.at.table, damages) from None
            raise

    def missing_files(self) -> list[Path]:
        """The version's data files that do not exist any more."""
        return [path for path in self.files if not path.exists()]

    def require_readable(self) -> None:
        """Raises NotFoundError if a data file of an older version is gone, DamagedError if one of the newest is."""
        missing = self.missing_files()
        if missing and self.at.version == TableLog(self.folder).newest:
            raise damaged(self.at.table, [Damage(path, "it is gone") for path in missing])
        if missing:
            raise NotFoundError(
                object=f"table version {self.at}",
                observed=f"{len(missing)} of its files are gone, such as {missing[0].name}: it was vacuumed",
                expected="a version that was current in the last 30 days, or that a model's record names",
                next_step=f"choose a newer version from `goldpath tables history {self.at.table}`",
            )

    def _dataset(self) -> ds.Dataset:
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

        # With delta-rs's own file system Arrow's threads call Python, which aborts a process that is ending.
        files = SubTreeFileSystem(str(self.folder), LocalFileSystem())
        return self.delta.to_pyarrow_dataset(filesystem=files)


def damaged(table: TableId, damages: Sequence[Damage]) -> DamagedError:
    """The error that names a table's damaged files."""
    more = f", and {len(damages) - 1} more" if len(damages) > 1 else ""
    return DamagedError(
        object=f"table {table}",
        observed=f"{damages[0].path}: {damages[0].observed}{more}",
        expected="the files of its newest version as they were written",
        next_step=f"goldpath repair {table} (with --dry-run it only says what it would do)",
    )


class Catalog:
    """The Delta tables below one root, the folder that holds `zone/domain/table`."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        #: The version of each table that was opened last, and what its log was then.
        self._opened: dict[TableId, tuple[LogState, Snapshot]] = {}

    def path(self, table: TableId) -> Path:
        """The table's folder."""
        return self.root.joinpath(*table.key)

    def tables(self) -> list[TableId]:
        """Every table with a published version, sorted."""
        logs = ((zone, log) for zone in ZONES for log in (self.root / zone).glob("*/*/_delta_log"))
        return sorted(TableId(zone, log.parts[-3], log.parts[-2]) for zone, log in logs)

    def whole_tables(self) -> list[TableId]:
        """The tables that are not damaged; the others are warned of, and left as they are."""
        whole = []
        for table in self.tables():
            try:
                self.require_whole(table)
                whole.append(table)
            except DamagedError as error:
                log.warning("%s", error)
        return whole

    def snapshot(self, of: TableId | TableVersion) -> Snapshot:
        """The snapshot of a table version; of the newest version, if `of` is a table.

        Raises:
            NotFoundError: if there is no such table, or its log does not hold the version.
            DamagedError: if the log is damaged: a reader would fail, or take the version before it for this one.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        table, version = (of, None) if isinstance(of, TableId) else (of.table, of.version)
        entries = TableLog(self.path(table))
        if entries.newest < 0:
            self.require_whole(table)
        # A version before the log's beginning, or after its end, is not damaged but unknown.
        begins, wanted = min(entries.checkpoints, default=0), entries.newest if version is None else version
        if begins <= wanted <= entries.newest and (damages := entries.damages(version)):
            raise damaged(table, damages)
        known, opened = self._opened.get(table, (None, None))
        state = entries.state()
        # A commit through the `delta` of a snapshot moves it to another version.
        same_log = known and known == state and begins <= wanted
        if opened and same_log and opened.at.version == opened.delta.version() == wanted:
            return opened
        try:
            delta = DeltaTable(str(self.path(table)), version=version)
        except DeltaError as error:
            if version is not None:
                raise NotFoundError(
                    object=f"table version {of}",
                    observed=f"its log does not hold it: {error}",
                    expected="a version that the log still holds",
                    next_step=f"choose a version from `goldpath tables history {table}`",
                ) from None
            if not isinstance(error, TableNotFoundError):
                raise
            raise NotFoundError(
                object=f"table {table}",
                observed=f"no version is published under {self.root}",
                expected="a table that was materialized",
                next_step=f"goldpath materialize {table}",
            ) from None
        snapshot = Snapshot(TableVersion(table, delta.version()), self.path(table), delta)
        self._opened[table] = state, snapshot
        return snapshot

    def current(self, table: TableId) -> TableVersion:
        """The newest published version; raises NotFoundError if there is none."""
        return self.snapshot(table).at

    def version(self, table: TableId) -> int | None:
        """The number of the newest published version; None if there is none."""
        try:
            return self.snapshot(table).at.version
        except NotFoundError:
            return None

    def columns(self, table: TableId) -> list[str]:
        """The names of the columns of the newest published version; none if there is no such table."""
        try:
            return [field.name for field in self.snapshot(table).delta.schema().fields]
        except NotFoundError:
            return []

    def require_whole(self, table: TableId) -> None:
        """Raises DamagedError unless the log and all data files of the newest version are whole; no data is read.

        Data files without a log are those of a writer that was killed before its first commit; among the platform's
        records, which a writer does not write again, they are damage.
        """
        entries = TableLog(self.path(table))
        if entries.newest < 0 and table.zone != "ops":
            return
        damages = entries.damages()
        if entries.newest >= 0 and not damages:
            damages = entries.data_damages(entries.newest)
        if damages:
            raise damaged(table, damages)

    def batch(self, table: TableId, app: str) -> int:
        """The last batch that the app committed to the table; -1 if there is none, or no such table."""
        try:
            return self.snapshot(table).batch(app)
        except NotFoundError:
            return -1
