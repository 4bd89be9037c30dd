"""The lakehouse of the embedded engine: Sail computes and writes Parquet, delta-rs commits the files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.lakehouse import delta_commits
from pipelines.lakehouse.base import Lakehouse
from pipelines.lakehouse.staging import Staged, Write
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class EmbeddedLakehouse(Lakehouse):
    """Sail computes and writes Parquet; delta-rs commits the files as add actions."""

    def read(self, at: TableVersion) -> DataFrame:
        # Once the log's older entries are removed, Sail 0.7.2 fails on a version before the checkpoint that this hint
        # names. Without the hint it lists the log.
        hint = self.path(at.table) / "_delta_log" / "_last_checkpoint"
        with contextlib.suppress(FileNotFoundError):
            if not self._names_checkpoint_up_to(hint, at.version):
                hint.unlink()
        return super().read(at)

    @staticmethod
    def _names_checkpoint_up_to(hint: Path, version: int) -> bool:
        """Whether the hint, which may be damaged, names a checkpoint of this version or an earlier one."""
        try:
            return json.loads(hint.read_bytes())["version"] <= version
        except (ValueError, KeyError, TypeError):
            return False

    def commit(self, table: TableId, staged: Staged, write: Write, *, metadata: Mapping[str, str]) -> TableVersion:
        delta_commits.commit_staged(self, table, staged, write, metadata=metadata)
        return self.current(table)
