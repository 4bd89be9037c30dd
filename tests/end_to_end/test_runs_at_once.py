"""Two runs of the same assets at the same moment give the tables of one run: nothing twice, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "runs_at_once.py"
ALL = None
FIRST, SECOND = ["2013-01-01", "2013-01-01"], ["2013-01-02", "2013-01-07"]


def ran(folder: Path, **order: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), json.dumps(order)],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (found["wrong"], found["litter"]) == ([], [])
    assert all(found["well"]), done.stderr[-6_000:]
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables of a home where one run follows another."""
    folder = tmp_path_factory.mktemp("alone")
    return ran(folder, homes=[str(folder / "home")], days=[ALL])


@pytest.mark.parametrize("days", [(ALL, ALL), (FIRST, SECOND)], ids=["the same days", "different days"])
def test_two_runs_at_once_are_as_one(alone: dict[str, Any], tmp_path: Path, days: Any) -> None:
    found = ran(tmp_path, homes=[str(tmp_path / "home")] * 2, days=days)
    assert found["tables"] == alone["tables"]


def test_two_machines_without_a_common_lock_take_each_batch_once(alone: dict[str, Any], tmp_path: Path) -> None:
    """Commits that meet are conflicts, and are tried again; each home holds the locks of its machine."""
    homes = [str(tmp_path / name) for name in ("here", "there")]
    found = ran(tmp_path, homes=homes, days=[ALL, ALL], shared=str(tmp_path / "shared"))
    assert found["tables"] == alone["tables"]
