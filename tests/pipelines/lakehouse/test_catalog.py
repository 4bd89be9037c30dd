"""A catalog opens a version once while the log of its table is unchanged, and never shows a version for another one."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.errors import DamagedError, NotFoundError
from pipelines.lakehouse import delta_commits
from pipelines.lakehouse.catalog import Catalog
from pipelines.lakehouse.table_log import TableLog
from pipelines.tables import TableId, TableVersion

TABLE = TableId("silver", "toys", "blocks")


def write(folder: Path, *parts: str) -> None:
    """Another process's commit: one row for each part."""
    write_deltalake(str(folder), pa.table({"part": parts}), mode="append")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """A catalog with one table of one version, which was opened."""
    catalog = Catalog(str(tmp_path))
    catalog.path(TABLE).mkdir(parents=True)
    write(catalog.path(TABLE), "brick")
    assert catalog.snapshot(TABLE).rows == 1
    return catalog


def test_a_version_is_opened_once_while_the_log_is_unchanged(catalog: Catalog) -> None:
    assert catalog.snapshot(TABLE) is catalog.snapshot(TABLE)
    assert catalog.snapshot(TABLE) is catalog.snapshot(TableVersion(TABLE, 0))


def _committed(folder: Path) -> None:
    write(folder, "plate")


def _made_anew(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    write(folder, "plate", "tile")


def _restored(folder: Path) -> None:
    write(folder, "plate")
    DeltaTable(str(folder)).restore(0)


@pytest.mark.parametrize(
    ("change", "rows"), [(_committed, 2), (_made_anew, 2), (_restored, 1)], ids=["commit", "made anew", "restored"]
)
def test_a_change_by_another_process_is_seen(catalog: Catalog, change: Callable[[Path], None], rows: int) -> None:
    change(catalog.path(TABLE))
    assert catalog.snapshot(TABLE).rows == rows
    assert catalog.snapshot(TABLE).arrow().num_rows == rows


def test_a_commit_through_a_snapshot_does_not_pass_for_the_version_that_was_opened(catalog: Catalog) -> None:
    catalog.snapshot(TABLE).delta.delete("part = 'brick'")
    assert catalog.snapshot(TableVersion(TABLE, 0)).rows == 1
    assert catalog.snapshot(TABLE).rows == 0


def test_upkeep_moves_no_snapshot_to_another_version(catalog: Catalog) -> None:
    delta_commits.newest_version(catalog, TABLE)
    held = catalog.snapshot(TABLE)
    delta_commits.delete_rows(catalog, TABLE, "part = 'brick'", metadata={})
    assert (held.rows, catalog.snapshot(held.at).rows, catalog.snapshot(TABLE).rows) == (1, 1, 0)


def test_a_process_with_too_many_files_open_finds_no_damage(catalog: Catalog) -> None:
    delta_commits.checkpoint(catalog, TABLE)
    log = TableLog(catalog.path(TABLE))
    limits, opened = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        for look in (log.damaged_checkpoints, lambda: log.data_damages(0)):
            with pytest.raises(OSError, match="Too many open files"):
                look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in opened:
            os.close(descriptor)
    assert (log.damaged_checkpoints(), log.data_damages(0)) == ([], [])


def test_older_versions_and_the_newest_are_told_apart(catalog: Catalog) -> None:
    write(catalog.path(TABLE), "plate")
    for _ in range(2):
        assert catalog.snapshot(TableVersion(TABLE, 0)).rows == 1
        assert catalog.snapshot(TABLE).rows == 2


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def _overwritten(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


@pytest.mark.parametrize("damage", [Path.unlink, _cut, _overwritten], ids=["removed", "cut", "overwritten"])
def test_a_data_file_that_is_damaged_after_a_first_look_is_found(
    catalog: Catalog, damage: Callable[[Path], None]
) -> None:
    catalog.require_whole(TABLE)
    [file] = catalog.snapshot(TABLE).files
    damage(file)
    with pytest.raises(DamagedError, match=file.name):
        catalog.require_whole(TABLE)


@pytest.mark.parametrize("damage", [_cut, _overwritten], ids=["cut", "overwritten"])
def test_an_entry_that_is_damaged_after_a_first_look_is_found(catalog: Catalog, damage: Callable[[Path], None]) -> None:
    entry = catalog.path(TABLE) / "_delta_log" / f"{0:020d}.json"
    damage(entry)
    with pytest.raises(DamagedError, match=entry.name):
        catalog.snapshot(TABLE)


def test_a_log_that_is_shortened_while_it_is_read_is_listed_again(catalog: Catalog) -> None:
    folder = catalog.path(TABLE)
    DeltaTable(str(folder)).create_checkpoint()
    write(folder, "plate")
    log = TableLog(folder)
    DeltaTable(str(folder)).create_checkpoint()
    for name in (f"{0:020d}.checkpoint.parquet", f"{0:020d}.json"):
        (log.log / name).unlink()
    assert log.damages() == []
    assert log.newest == 1


def test_a_version_that_was_opened_is_unknown_once_the_log_begins_after_it(catalog: Catalog) -> None:
    folder = catalog.path(TABLE)
    write(folder, "plate")
    DeltaTable(str(folder)).create_checkpoint()
    assert catalog.snapshot(TableVersion(TABLE, 0)).rows == 1
    (folder / "_delta_log" / f"{0:020d}.json").unlink()
    with pytest.raises(NotFoundError):
        catalog.snapshot(TableVersion(TABLE, 0))
