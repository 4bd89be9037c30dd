"""Bronze takes a delivery of any size, packed or unpacked, with about as much memory as a small one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Several blocks of 8 MiB, one row group that is not written yet, and memory that allocators keep.
GROWTH_MIB = 400
MIB, GIB = 2**20, 2**30


def ingest(folder: Path, kind: str) -> dict[str, Any]:
    """The report of huge_file.py about a file of this kind, all of whose rows are in bronze."""
    report = programs.report("huge_file.py", folder / kind, kind, home=folder)
    assert report["bronze_rows"] == report["rows"]
    return report


@pytest.fixture(scope="module")
def small_mib(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The peak memory for a delivery of one row, in MiB."""
    return float(ingest(tmp_path_factory.mktemp("small"), "small")["peak_mib"])


def test_a_large_file_is_read_in_parts(tmp_path: Path, small_mib: float) -> None:
    report = ingest(tmp_path, "jsonl")
    assert report["landed_bytes"] > 290 * MIB
    assert report["peak_mib"] < small_mib + GROWTH_MIB


def test_a_small_archive_that_unpacks_to_a_gibibyte_is_read_in_parts(tmp_path: Path, small_mib: float) -> None:
    report = ingest(tmp_path, "bomb")
    assert report["landed_bytes"] < 2 * MIB
    assert report["rows"] * 10_000 > GIB - 20 * MIB
    assert report["peak_mib"] < small_mib + GROWTH_MIB


def test_a_line_of_two_gibibytes_is_one_malformed_row(tmp_path: Path, small_mib: float) -> None:
    report = ingest(tmp_path, "line")
    assert report["landed_bytes"] > 2 * GIB
    assert report["peak_mib"] < small_mib + GROWTH_MIB
    malformed, well_formed = report["rescued"]
    assert "[a line of 2147483649 bytes, more than 8388608]" in malformed
    assert well_formed is None
