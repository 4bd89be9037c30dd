"""However large a delivery, or what it unpacks to, taking it into bronze needs about the memory of a small one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "huge_file.py"
#: Several blocks of 8 MiB, a group of rows before it is written, and what allocators keep.
GROWTH_MIB = 400
MIB, GIB = 2**20, 2**30


def taken(folder: Path, kind: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder / kind), kind],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["bronze"] == found["rows"]
    return found


@pytest.fixture(scope="module")
def small_mib(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The memory at its peak where the delivery has one row."""
    return float(taken(tmp_path_factory.mktemp("small"), "small")["peak_mib"])


def test_a_large_file_is_read_in_pieces(tmp_path: Path, small_mib: float) -> None:
    found = taken(tmp_path, "jsonl")
    assert found["landed"] > 290 * MIB
    assert found["peak_mib"] < small_mib + GROWTH_MIB


def test_a_small_archive_that_unpacks_to_a_gibibyte_is_read_in_pieces(tmp_path: Path, small_mib: float) -> None:
    found = taken(tmp_path, "bomb")
    assert found["landed"] < 2 * MIB
    assert found["rows"] * 10_000 > GIB - 20 * MIB
    assert found["peak_mib"] < small_mib + GROWTH_MIB


def test_a_line_of_two_gibibytes_is_one_malformed_row(tmp_path: Path, small_mib: float) -> None:
    found = taken(tmp_path, "line")
    assert found["landed"] > 2 * GIB
    assert found["peak_mib"] < small_mib + GROWTH_MIB
    malformed, whole = found["rescued"]
    assert "[a line of 2147483649 bytes, more than 8388608]" in malformed
    assert whole is None
