"""Which tables are there, in which versions, and what a version's log entry tells, without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError
from pipelines.tables import ZONES, TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import DeltaTable


def text(name: str) -> ds.Expression:
    """A text column in a filter: delta-rs writes merged rows as a kind of text that Arrow compares with no other."""
    import pyarrow.dataset as ds

    return ds.field(name).cast("string")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of one table, as delta-rs opened it; `folder` holds its files."""

    at: TableVersion
    folder: Path
    delta: DeltaTable

    @property
    def files(self) -> list[str]:
        """The paths of its data files."""
        return self.delta.file_uris()

    @property
    def bytes(self) -> int:
        """The size of its data files."""
        return sum(self.delta.get_add_actions(flatten=True)["size_bytes"].to_pylist())

    @property
    def rows(self) -> int:
        """The number of its rows."""
        return self.delta.count()

    def batch(self, app: str) -> int:
        """The last batch that the app had committed by then, by its app transaction; -1 before the first."""
        version = self.delta.transaction_version(app)
        return -1 if version is None else version

    def partition_rows(self, column: str) -> dict[str, int]:
        """The number of rows for each value of a partition column, from the log alone."""
        import pyarrow as pa

        files = pa.table(self.delta.get_add_actions(flatten=True))
        counts: dict[str, int] = {}
        for value, rows in zip(files[f"partition.{column}"].to_pylist(), files["num_records"].to_pylist(), strict=True):
            counts[value] = counts.get(value, 0) + (rows or 0)
        return counts

    def arrow(self, *, columns: Sequence[str] | None = None, where: Any = None) -> pa.Table:
        """Its rows as Arrow: for small results and look-ups.

        Args:
            columns: Their names; all by default.
            where: A filter; `text` names its text columns.

        Raises:
            NotFoundError: if its files were vacuumed.
        """
        try:
            return self._dataset().to_table(columns=list(columns) if columns else None, filter=where)
        except FileNotFoundError:
            self.require_readable()
            raise

    def sample(self, rows: int) -> pa.Table:
        """Its first rows, in the order of its files."""
        return self._dataset().head(rows)

    def missing_files(self) -> list[str]:
        """The paths of those of its data files that are gone."""
        return [uri for uri in self.files if not Path(uri.removeprefix("file://")).exists()]

    def require_readable(self) -> None:
        """Raises NotFoundError if one of its files is gone."""
        missing = self.missing_files()
        if missing:
            raise NotFoundError(
                object=f"table version {self.at}",
                observed=f"{len(missing)} of its files are gone, such as {Path(missing[0]).name}: it was vacuumed",
                expected="a version of the last 30 days, or one that a model's record names",
                next_step=f"choose a newer one of `goldpath tables history {self.at.table}`",
            )

    def _dataset(self) -> ds.Dataset:
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

        # Through delta-rs's own file system Arrow's threads call Python, which aborts a process that is about to end.
        files = SubTreeFileSystem(str(self.folder), LocalFileSystem())
        return self.delta.to_pyarrow_dataset(filesystem=files)


class Catalog:
    """The Delta tables below one root, the folder that holds `zone/domain/table`."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def path(self, table: TableId) -> Path:
        """The table's folder."""
        return self.root.joinpath(*table.key)

    def tables(self) -> list[TableId]:
        """Every table that was published."""
        logs = [log for zone in ZONES for log in (self.root / zone).glob("*/*/_delta_log")]
        return sorted(TableId.parse("/".join(log.parent.relative_to(self.root).parts)) for log in logs)

    def snapshot(self, of: TableId | TableVersion) -> Snapshot:
        """A version, or the newest version of a table.

        Raises:
            NotFoundError: if there is no such table, or its log does not hold the version.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        table, version = (of, None) if isinstance(of, TableId) else (of.table, of.version)
        try:
            delta = DeltaTable(str(self.path(table)), version=version)
        except DeltaError as error:
            if version is not None:
                raise NotFoundError(
                    object=f"table version {of}",
                    observed=f"its log does not hold it: {error}",
                    expected="a version that the log still holds",
                    next_step=f"choose one of `goldpath tables history {table}`",
                ) from None
            if not isinstance(error, TableNotFoundError):
                raise
            raise NotFoundError(
                object=f"table {table}",
                observed=f"no version of it under {self.root}",
                expected="a table that was materialized",
                next_step="materialize the asset of that name first",
            ) from None
        return Snapshot(TableVersion(table, delta.version()), self.path(table), delta)

    def current(self, table: TableId) -> TableVersion:
        """The newest published version; raises NotFoundError."""
        return self.snapshot(table).at

    def version(self, table: TableId) -> int | None:
        """The number of the newest published version; None where nothing was published."""
        try:
            return self.snapshot(table).at.version
        except NotFoundError:
            return None

    def batch(self, table: TableId, app: str) -> int:
        """The last batch that the app committed; -1 before the first, and for a table that was not published."""
        try:
            return self.snapshot(table).batch(app)
        except NotFoundError:
            return -1
