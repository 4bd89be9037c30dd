"""Merges by key, against delta-rs's own merge of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.lakehouse import delta_commits, file_merge
from pipelines.lakehouse.catalog import Catalog
from pipelines.lakehouse.staging import Append, Merge, Staged, StagedFile
from pipelines.tables import TableId
from pipelines.verdict.text_values import SPACE

TABLE = TableId("silver", "toys", "blocks")
SCHEMA = pa.schema([("name", pa.string()), ("part", pa.int32()), ("weight", pa.float64())])
SAME = f"lower(btrim(old.`name`, '{SPACE}')) = lower(btrim(new.`name`, '{SPACE}')) AND old.`part` = new.`part`"
WINS = "new.`weight` > old.`weight` OR (new.`weight` IS NOT NULL AND old.`weight` IS NULL)"
Rows = list[tuple[str, int, float | None]]

NAMES = st.sampled_from(
    ["brick", "Brick", " brick\t", "plate", "ÄRGER", "ärger", "\u212a", "k", "K", "ΟΔΟΣ", "οδος", "İ", ""]
)
WEIGHTS = st.sampled_from([None, -1.0, 0.0, 1.0, 2.0])


def rows(key_range: int) -> st.SearchStrategy[Rows]:
    row = st.tuples(NAMES, st.integers(0, key_range), WEIGHTS)
    return st.lists(row, max_size=8, unique_by=lambda row: (row[0].strip(SPACE).lower(), row[1]))


def staged(folder: Path, table: pa.Table) -> Staged:
    folder.mkdir(parents=True)
    path = folder / "rows.parquet"
    pq.write_table(table, path)
    files = (StagedFile(path, {}, table.num_rows, path.stat().st_size),) if table.num_rows else ()
    return Staged(folder, table.schema, files, ())


def table_of(rows: Rows) -> pa.Table:
    return pa.table(list(zip(*rows, strict=True)) or [[], [], []], schema=SCHEMA)


def merge(batch: int, wins: str = WINS, compared: tuple[str, ...] = ("weight",)) -> Merge:
    return Merge(SAME, wins, ("name", "part"), compared, "merged", batch)


def files_of(catalog: Catalog) -> list[str]:
    return sorted(path.name for path in catalog.snapshot(TABLE).files)


def as_text(table: pa.Table) -> list[str]:
    return sorted(map(str, table.select(SCHEMA.names).to_pylist()))


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(rows(2), min_size=2, max_size=4))
def test_merges_give_the_rows_that_delta_rs_gives(
    batches: Sequence[Rows], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("merges")
    catalog, peer = Catalog(str(folder / "lakehouse")), str(folder / "peer")
    write_deltalake(peer, table_of([]))
    for number, batch in enumerate(batches):
        change = table_of(batch)
        delta_commits.commit_staged(catalog, TABLE, staged(folder / str(number), change), merge(number), metadata={})
        if batch:
            by_delta = DeltaTable(peer).merge(change, SAME, source_alias="new", target_alias="old")
            by_delta.when_matched_update_all(WINS).when_not_matched_insert_all().execute()
    assert as_text(catalog.snapshot(TABLE).arrow()) == as_text(DeltaTable(peer).to_pyarrow_table())


def test_only_files_with_a_replaced_row_are_written_anew(tmp_path: Path) -> None:
    catalog = Catalog(str(tmp_path / "lakehouse"))
    for number, name in enumerate(("brick", "plate", "axle")):
        change = staged(tmp_path / name, table_of([(name, part, 1.0) for part in range(50_000)]))
        delta_commits.commit_staged(catalog, TABLE, change, Append("first", number), metadata={})
    before = files_of(catalog)
    change = staged(tmp_path / "change", table_of([("PLATE", 7, 2.0), ("brick", 7, 0.5)]))
    delta_commits.commit_staged(catalog, TABLE, change, merge(0), metadata={})
    assert len(set(before) & set(files_of(catalog))) == 2
    assert catalog.snapshot(TABLE).rows == 150_000
    sevens = [row for row in catalog.snapshot(TABLE).arrow().to_pylist() if row["part"] == 7]
    assert sorted((row["name"], row["weight"]) for row in sevens) == [("PLATE", 2), ("axle", 1), ("brick", 1)]


def test_new_keys_join_a_small_file(tmp_path: Path) -> None:
    catalog = Catalog(str(tmp_path / "lakehouse"))
    for number in range(5):
        change = staged(tmp_path / str(number), table_of([("brick", number, 1.0)]))
        delta_commits.commit_staged(catalog, TABLE, change, merge(number), metadata={})
    assert len(files_of(catalog)) == 1
    assert catalog.snapshot(TABLE).rows == 5


def test_a_large_file_that_is_written_anew_becomes_several_in_its_order(tmp_path: Path) -> None:
    catalog, count = Catalog(str(tmp_path / "lakehouse")), 5_000_000
    weights = np.random.default_rng(0).random(count)
    columns = [pa.repeat("brick", count), pa.array(np.arange(count), pa.int32()), pa.array(weights)]
    change = staged(tmp_path / "first", pa.table(columns, schema=SCHEMA))
    delta_commits.commit_staged(catalog, TABLE, change, Append("first", 0), metadata={})
    change = staged(tmp_path / "change", table_of([("brick", 3, 2.0)]))
    delta_commits.commit_staged(catalog, TABLE, change, merge(0), metadata={})
    snapshot = catalog.snapshot(TABLE)
    assert len(snapshot.files) > 2
    assert max(path.stat().st_size for path in snapshot.files) < 2 * file_merge.FILE_BYTES
    assert snapshot.rows == count
    first = [pq.ParquetFile(path).metadata.row_group(0).column(1).statistics.min for path in snapshot.files]
    change = staged(tmp_path / "again", table_of([("brick", max(first), 3.0)]))
    before = files_of(catalog)
    delta_commits.commit_staged(catalog, TABLE, change, merge(1), metadata={})
    assert len(set(before) - set(files_of(catalog))) == 1


def test_a_column_that_files_lack_is_null_in_their_rows(tmp_path: Path) -> None:
    catalog = Catalog(str(tmp_path / "lakehouse"))
    first = table_of([("brick", 1, 1.0), ("plate", 1, 1.0)]).drop_columns(["weight"])
    delta_commits.commit_staged(catalog, TABLE, staged(tmp_path / "first", first), Append("first", 0), metadata={})
    change = staged(tmp_path / "change", table_of([("brick", 1, -1.0)]))
    delta_commits.commit_staged(catalog, TABLE, change, merge(0), metadata={})
    found = {(row["name"], row["weight"]) for row in catalog.snapshot(TABLE).arrow().to_pylist()}
    assert found == {("brick", -1.0), ("plate", None)}
