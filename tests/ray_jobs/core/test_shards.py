"""The input of a run: every row once in an epoch, in an order that neither files nor workers change."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.models.program import Fold, Part, Window
from ray_jobs.core.dataset import DatasetVersion, Rows, TrainingPart, training_rows
from ray_jobs.core.errors import DatasetError
from ray_jobs.core.sample import key_hash, sampled_rows
from ray_jobs.core.shard_writer import write
from ray_jobs.core.shards import ROW_KEY, Shards

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 1_000


@dataclass(frozen=True)
class Wanted:
    """The rows that a recipe asks for."""

    train_window: Part
    model_name: str = "made_up"
    columns_read: tuple[str, ...] = ("x",)
    label: str = "y"
    row_key: str = "key"
    time_column: str | None = "at"
    known_at_column: str | None = "at"
    holdout_every_days: int = 5


BY_TIME = Wanted(Window(START, START + timedelta(days=100)))
BY_FOLD = Wanted(Fold("fold", ("a", "b"), ("c",)), time_column=None, known_at_column=None)


class Doubling:
    """Examples of a number and a list for each row."""

    def examples(self, rows: Rows) -> pa.Table:
        x = rows.columns["x"]
        tokens = pa.array([[int(value)] * (int(value) % 3) for value in x], pa.list_(pa.int32()))
        return pa.table({"twice": pa.array(2.0 * x), "tokens": tokens, "y": pa.array(rows.labels)})


def made_up(rows: int = ROWS) -> pa.Table:
    random = np.random.default_rng(1)
    return pa.table(
        {
            "key": [f"k{number:06d}" for number in range(rows)],
            "at": pa.array([START + timedelta(hours=2 * n) for n in range(rows)], pa.timestamp("us", tz="UTC")),
            "x": np.arange(rows, dtype=float),
            "y": pa.array([None if n % 97 == 5 else float(n % 2) for n in range(rows)]),
            "fold": pa.array(["abcd"[n] for n in random.integers(0, 4, rows)]),
        }
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    uri = str(tmp_path_factory.mktemp("table") / "made_up")
    write_deltalake(uri, made_up())
    return DatasetVersion(uri, 0)


@pytest.fixture(scope="module")
def shards(table: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """The examples of the rows to fit on, in about a dozen buckets."""
    return write(Doubling(), table, BY_TIME, "fit", tmp_path_factory.mktemp("run") / "fit", rows_per_bucket=100)


def keys(batches: list[pa.Table]) -> list[str]:
    return [key for batch in batches for key in batch.column(ROW_KEY).to_pylist()]


@pytest.mark.parametrize("wanted", [BY_TIME, BY_FOLD], ids=["by_time", "by_fold"])
@pytest.mark.parametrize("part", ["fit", "holdout", "all"])
def test_the_examples_are_those_of_the_rows_of_the_part(
    table: DatasetVersion, tmp_path: Path, wanted: Wanted, part: TrainingPart
) -> None:
    written = write(Doubling(), table, wanted, part, tmp_path / "run", rows_per_bucket=70)
    rows = training_rows(table, wanted, part)
    examples = pa.concat_tables(written.in_order(batch_size=64)).sort_by("twice")
    expected = Doubling().examples(rows).sort_by("twice")
    assert written.rows == len(rows) == examples.num_rows
    assert len(written.buckets) > 5
    assert examples.drop_columns(ROW_KEY).to_pylist() == expected.to_pylist()
    assert examples.column(ROW_KEY).to_pylist() == [f"k{int(x) // 2:06d}" for x in examples.column("twice").to_pylist()]


def test_an_epoch_holds_every_row_and_fills_the_last_batch_up_with_its_first_rows(shards: Shards) -> None:
    batches = list(shards.batches(seed=1, epoch=1, batch_size=64))
    assert len(batches) == shards.steps(64) == 13
    assert {batch.num_rows for batch in batches} == {64}
    order = keys(batches)
    assert len(set(order[: shards.rows])) == shards.rows
    assert order[shards.rows :] == order[: 13 * 64 - shards.rows]


def test_a_table_smaller_than_a_batch_fills_it_several_times(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "few"), made_up(5))
    few = write(Doubling(), DatasetVersion(str(tmp_path / "few"), 0), BY_TIME, "fit", tmp_path / "run")
    [batch] = few.batches(seed=1, epoch=1, batch_size=12)
    assert sorted(Counter(batch.column(ROW_KEY).to_pylist()).values()) == [2, 2, 2, 3, 3]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(-(2**70), 2**70),
    epoch=st.integers(1, 1000),
    size=st.sampled_from([4, 9, 64, 1500]),
    of=st.integers(1, 4),
    first_step=st.integers(0, 6),
)
def test_the_batches_are_the_same_for_any_number_of_workers_and_after_a_resumption(
    shards: Shards, seed: int, epoch: int, size: int, of: int, first_step: int
) -> None:
    whole = [batch.column(ROW_KEY).to_pylist() for batch in shards.batches(seed=seed, epoch=epoch, batch_size=size)]
    parts = [
        list(shards.batches(seed=seed, epoch=epoch, batch_size=size, first_step=first_step, rank=rank, of=of))
        for rank in range(of)
    ]
    assert all(len(part) == max(len(whole) - first_step, 0) for part in parts)
    joined = [keys([part[step] for part in parts]) for step in range(max(len(whole) - first_step, 0))]
    assert joined == whole[first_step:]


def test_seed_and_epoch_change_the_order_of_rows_within_and_across_buckets(shards: Shards) -> None:
    orders = {tuple(keys(list(shards.batches(seed=s, epoch=e, batch_size=64)))) for s in (1, 2) for e in (1, 2)}
    assert len(orders) == 4
    assert all(list(order) != sorted(order) for order in orders)


def test_the_order_does_not_depend_on_the_tables_files(shards: Shards, tmp_path: Path) -> None:
    uri = str(tmp_path / "shuffled")
    rows = made_up()
    shuffled = rows.take(np.random.default_rng(5).permutation(ROWS))
    for start in range(0, ROWS, 137):
        write_deltalake(uri, shuffled.slice(start, 137), mode="append")
    version = (ROWS - 1) // 137
    again = write(Doubling(), DatasetVersion(uri, version), BY_TIME, "fit", tmp_path / "run", rows_per_bucket=100)
    assert again.buckets == shards.buckets
    for one, other in zip(*(s.batches(seed=4, epoch=2, batch_size=50) for s in (shards, again)), strict=True):
        assert one.equals(other)


@pytest.mark.parametrize(("batch_size", "of"), [(64, 1), (64, 4), (10_000, 3), (8, 8)])
def test_measuring_reads_each_row_once_in_equally_many_parts(shards: Shards, batch_size: int, of: int) -> None:
    parts = [list(shards.in_order(batch_size=batch_size, rank=rank, of=of)) for rank in range(of)]
    assert len({len(part) for part in parts}) == 1
    assert all(batch.num_rows for part in parts for batch in part)
    assert max(batch.num_rows for part in parts for batch in part) <= batch_size // of + 2
    read = [key for part in parts for key in keys(part)]
    assert len(read) == len(set(read)) == shards.rows


def test_fewer_rows_than_workers_cannot_be_measured(shards: Shards) -> None:
    with pytest.raises(DatasetError, match="workers"):
        next(shards.in_order(batch_size=1_000_000, rank=0, of=100_000))


def test_written_examples_are_opened_and_an_interrupted_write_is_done_again(
    table: DatasetVersion, tmp_path: Path
) -> None:
    (tmp_path / ".fit.partial").mkdir()
    (tmp_path / ".fit.partial" / "00000.unsorted").write_bytes(b"cut off")
    first = write(Doubling(), table, BY_TIME, "fit", tmp_path / "fit")
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "fit").iterdir()}
    assert write(Doubling(), table, BY_TIME, "fit", tmp_path / "fit") == first
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "fit").iterdir()} == files
    assert [path.name for path in tmp_path.iterdir()] == ["fit"]


@pytest.mark.parametrize("damage", ["cut off", "absent", "manifest"])
def test_damaged_examples_are_refused_by_place(table: DatasetVersion, tmp_path: Path, damage: str) -> None:
    write(Doubling(), table, BY_TIME, "fit", tmp_path / "fit")
    file = tmp_path / "fit" / ("shards.json" if damage == "manifest" else "00000.arrow")
    if damage == "absent":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=file.name) as error:
        Shards.open(tmp_path / "fit")
    assert str(tmp_path / "fit") in error.value.next_step


def _with_keys(table: pa.Table, keys: list[str | None]) -> pa.Table:
    return table.set_column(0, "key", pa.array(keys, pa.string()))


@pytest.mark.parametrize(
    ("rows", "wanted", "message"),
    [
        (_with_keys(made_up(20), [f"k{n % 19}" for n in range(20)]), BY_TIME, "several rows with the key k0"),
        (_with_keys(made_up(20), [None, *map(str, range(19))]), BY_TIME, "without a key"),
        (made_up(20), replace(BY_TIME, columns_read=("gone",)), "no column gone"),
        (made_up(20), replace(BY_TIME, train_window=Fold("fold", ("z",))), "no labelled row"),
    ],
    ids=["repeated_key", "no_key", "no_column", "no_row"],
)
def test_rows_that_cannot_be_input_are_refused_and_leave_no_folder(
    tmp_path: Path, rows: pa.Table, wanted: Wanted, message: str
) -> None:
    write_deltalake(str(tmp_path / "table"), rows)
    with pytest.raises(DatasetError, match=message):
        write(Doubling(), DatasetVersion(str(tmp_path / "table"), 0), wanted, "fit", tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_a_sample_is_of_the_part_and_does_not_depend_on_the_tables_files(table: DatasetVersion, tmp_path: Path) -> None:
    uri = str(tmp_path / "reversed")
    write_deltalake(uri, made_up().take(np.arange(ROWS)[::-1]))
    samples = [sampled_rows(version, BY_TIME, "fit", at_most=200) for version in (table, DatasetVersion(uri, 0))]
    assert 100 < len(samples[0]) < 250
    x = samples[0].columns["x"].tolist()
    assert x == sorted(x) == samples[1].columns["x"].tolist()
    assert set(x) < set(training_rows(table, BY_TIME, "fit").columns["x"].tolist())
    assert len(sampled_rows(table, BY_TIME, "fit", at_most=ROWS)) == len(training_rows(table, BY_TIME, "fit"))


def test_the_hash_of_a_key_is_the_same_in_every_release() -> None:
    assert key_hash(pa.array(["k000001", "ü"])).tolist() == [3_948_827_570, 1_675_192_789]
    assert key_hash(pa.array([17])).tolist() == key_hash(pa.array(["17"])).tolist()
