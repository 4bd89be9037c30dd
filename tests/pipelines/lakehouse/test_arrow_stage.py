"""Rows that come as Arrow batches: which files they are staged in, and what a part that fails leaves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import LandingError
from pipelines.lakehouse.arrow_stage import Part
from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.lakehouse.staging import Append
from pipelines.settings import PROJECT
from tests.pipelines.lakehouse.blocks import (
    EDGES,
    SCHEMA,
    TABLE,
    batches,
    expected,
    read,
    row,
)


def test_arrow_batches_are_staged_in_one_file_for_each_day_with_rows(embedded: EmbeddedLakehouse) -> None:
    days = {"2013-01-01": EDGES[:2], "2013-01-02": EDGES[2:], "2013-01-03": []}
    parts = [Part(day, batches(rows)) for day, rows in days.items()]
    staged = embedded.stage_arrow(TABLE, parts, schema=SCHEMA)
    assert (staged.rows, len(staged.files), embedded.version(TABLE)) == (4, 2, None)
    at = embedded.commit(TABLE, staged, Append("ingest", 0), metadata={})
    assert read(embedded, at) == expected(EDGES)


def test_a_part_that_raises_a_landing_error_is_left_out_and_gets_the_error(embedded: EmbeddedLakehouse) -> None:
    error = LandingError(object="a file", observed="its end is missing", expected="a complete file", next_step="retry")
    errors: list[LandingError] = []

    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(EDGES[2:])
        raise error

    parts = [Part("2013-01-02", broken(), errors.append), Part("2013-01-01", batches(EDGES[:2]))]
    staged = embedded.stage_arrow(TABLE, parts, schema=SCHEMA)
    assert (staged.rows, errors) == (2, [error])
    at = embedded.commit(TABLE, staged, Append("ingest", 0), metadata={})
    assert read(embedded, at) == expected(EDGES[:2])


def test_a_large_part_is_written_in_its_order_while_it_is_read(
    embedded: EmbeddedLakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.lakehouse.arrow_stage.HELD_BYTES", 0)
    monkeypatch.setattr("pipelines.lakehouse.arrow_stage.ROW_GROUP_BYTES", 1)
    rows = [row(f"{n:03d}") for n in range(100)]
    large = Part("2013-01-01", (batch for one in rows for batch in batches([one])))
    staged = embedded.stage_arrow(TABLE, [large, Part("2013-01-02", batches(EDGES[2:]))], schema=SCHEMA)
    [first, _] = staged.files
    with pq.ParquetFile(first.path) as file:
        assert (file.num_row_groups, file.read(["id"])["id"].to_pylist()) == (100, [one["id"] for one in rows])
    at = embedded.commit(TABLE, staged, Append("ingest", 0), metadata={})
    assert read(embedded, at) == expected([*rows, *EDGES[2:]])


#: Writes row groups of random text, a thousand bytes each, where no file may be larger than a number of bytes.
WRITES_TOO_MUCH = """
import os, resource, sys
from pathlib import Path
import pyarrow as pa
from pipelines.lakehouse import arrow_stage
arrow_stage.HELD_BYTES, arrow_stage.ROW_GROUP_BYTES = 0, 1
texts = ({"id": os.urandom(500).hex(), "_partition": "2013-01-01"} for _ in range(50))
part = arrow_stage.Part("2013-01-01", (pa.RecordBatch.from_pylist([text]) for text in texts))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    arrow_stage.ArrowStage(Path(sys.argv[1])).write([part])
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 5_000, 20_000])
def test_an_error_of_the_thread_that_writes_is_raised_and_leaves_no_file(tmp_path: Path, limit: int) -> None:
    command = [sys.executable, "-c", WRITES_TOO_MUCH, str(tmp_path), str(limit)]
    ended = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=60)
    assert "File too large" in ended.stdout
    assert not [*tmp_path.rglob("*.parquet")]
