"""Mends a table from what is still there: its newest version becomes the last whole one again.

Nothing is deleted: damaged files, and the log entries after the last whole version, are moved to `damaged/` below the
lakehouse's root. Each of these entries is replaced by one that changes nothing, so that no version number is used
twice; what is derived from the table, and what records name a version, cannot mistake one for another. The next run
derives the table again, or takes its deliveries again. Rows of the platform's own records cannot be derived: those in
data files that the log no longer names are appended again. A repair that is killed goes on when it is run again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.lakehouse import delta_commits
from pipelines.lakehouse.catalog import Catalog
from pipelines.lakehouse.table_log import HINT, Depth, TableLog
from pipelines.machine import files
from pipelines.tables import TableId

#: What is written in the place of a log entry that is no longer valid.
OPERATION = "REPAIR"
Mode = Literal["plan", "mend"]


@dataclass(slots=True)
class Repair:
    """What a repair did, or would do.

    Attributes:
        steps: Each change, in words.
        unmended: What it could not mend, in words.
    """

    steps: list[str] = field(default_factory=list)
    unmended: list[str] = field(default_factory=list)


def readable_log(catalog: Catalog, table: TableId) -> TableLog:
    """The log of a table without its damaged checkpoints, and without the file that names the last one."""
    log = TableLog(catalog.path(table))
    for version in log.damaged_checkpoints():
        del log.checkpoints[version]
    log.hint = None
    return log


def whole_version(catalog: Catalog, table: TableId, depth: Depth) -> tuple[int, int]:
    """The last whole version of a table, without its damaged checkpoints, and the newest version; -1 for none."""
    whole = readable_log(catalog, table).last_whole(depth)
    return (-1 if whole is None else whole), TableLog(catalog.path(table)).newest


def repair(catalog: Catalog, table: TableId, *, mode: Mode, depth: Depth) -> Repair:
    """Makes the last whole version of a table its newest; changes nothing if that is its newest.

    The caller holds the table.

    Args:
        catalog: Where the table is.
        table: The table.
        mode: `plan` changes nothing.
        depth: How data files are checked.
    """
    report, folder = Repair(), catalog.path(table)
    whole, newest = whole_version(catalog, table, depth)
    log, readable = TableLog(folder), readable_log(catalog, table)
    hint = log.log / HINT
    aside: list[Path] = []
    for version in log.damaged_checkpoints():
        report.steps.append(f"set aside checkpoint {version}, which is damaged")
        aside += log.checkpoints[version]
    if log.hint_damage() or (aside and hint.exists()):
        report.steps.append(f"set aside {HINT}: it names no checkpoint that is there")
        aside.append(hint)
    if whole < 0 <= newest:
        report.steps.append("set aside its log: none of its versions is whole")
        aside = sorted(log.log.iterdir()) if table.zone == "ops" else [folder]
    elif whole < newest:
        report.steps.append(f"make version {whole} the newest again: versions {whole + 1} to {newest} are not whole")
        aside += [path for version, paths in log.checkpoints.items() if version > whole for path in paths]
        aside += [hint] if hint.exists() else []
    if mode == "mend":
        for path in dict.fromkeys(aside):
            files.set_aside(path, root=catalog.root)
        if 0 <= whole < newest:
            _withdraw(catalog, log, whole, newest)
    if table.zone == "ops" and (
        report.steps or newest < 0 or _withdrawn(log, newest)
    ):  # by this repair or a killed one
        _append_again(catalog, table, report, mode, set(readable.files(whole)) if whole >= 0 else set())
    return report


def _withdraw(catalog: Catalog, log: TableLog, whole: int, newest: int) -> None:
    """Replaces each entry after the last whole version by one that changes nothing, the newest first."""
    for version in range(newest, whole, -1):
        if _withdrawn(log, version):
            continue
        path = log.log / f"{version:020d}.json"
        info = {"timestamp": int(time.time() * 1000), "operation": OPERATION, "operationParameters": {}}
        if path.exists():  # it stays until it is replaced: without it the version's number would be given again
            files.set_aside(path, root=catalog.root, how="copy")
        files.replace(path, json.dumps({"commitInfo": info}), survives="power")


def _withdrawn(log: TableLog, version: int) -> bool:
    """Whether a repair wrote this entry."""
    try:
        [line] = (log.log / f"{version:020d}.json").read_text(encoding="utf-8").splitlines()
        commit = json.loads(line)
    except (OSError, ValueError):
        return False
    return isinstance(commit, dict) and commit.get("commitInfo", {}).get("operation") == OPERATION


def _append_again(catalog: Catalog, table: TableId, report: Repair, mode: Mode, named: set[str]) -> None:
    """Appends the rows of data files other than those of the last whole version, if the table lacks these rows."""
    import pyarrow as pa

    folder = catalog.path(table)
    known = set(map(_row_text, _rows(folder / name for name in named)))
    lost: list[pa.Table] = []
    for path in sorted(folder.rglob("*.parquet")):
        if "_delta_log" in path.parts or path.relative_to(folder).as_posix() in named:
            continue
        try:
            [table_rows] = _tables([path])
        except (OSError, pa.ArrowException) as error:
            report.unmended.append(f"rows of {path}: {error}")
            continue
        new = [index for index, row in enumerate(table_rows.to_pylist()) if _row_text(row) not in known]
        if new:
            report.steps.append(f"append again {len(new)} rows of {path.name}")
            known |= set(map(_row_text, table_rows.to_pylist()))
            lost.append(table_rows.take(new))
    if lost and mode == "mend":  # in one commit: after it, nothing says that more rows were to be appended
        delta_commits.append_rows(catalog, table, pa.concat_tables(lost, promote_options="permissive"))


def _tables(paths: list[Path]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as parquet:
            yield parquet.read()


def _rows(paths: Iterator[Path]) -> Iterator[dict[str, Any]]:
    for table in _tables(list(paths)):
        yield from table.to_pylist()


def _row_text(row: dict[str, Any]) -> str:
    """A row as a text to compare: rows written before a column was added lack it, or have null in it."""
    return json.dumps({name: value for name, value in sorted(row.items()) if value is not None}, default=str)
