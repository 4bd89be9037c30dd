"""Two runs of the same assets at the same time give the same tables as one run after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ALL = None
FIRST, SECOND = ["2013-01-01", "2013-01-01"], ["2013-01-02", "2013-01-07"]


def tables_after(folder: Path, **order: Any) -> dict[str, Any]:
    """The contents of all tables after the runs of an order, as runs_at_once.py takes it; all runs must succeed."""
    report = programs.report("runs_at_once.py", json.dumps(order), home=folder)
    assert (report["failures"], report["leftovers"]) == ([], [])
    assert all(report["succeeded"])
    return report["tables"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The contents of all tables where one run follows another."""
    folder = tmp_path_factory.mktemp("one_process")
    return tables_after(folder, homes=[str(folder / "home")], days=[ALL])


@pytest.mark.parametrize("days", [(ALL, ALL), (FIRST, SECOND)], ids=["the same days", "different days"])
def test_two_runs_at_once_give_the_same_tables_as_one(expected: dict[str, Any], tmp_path: Path, days: Any) -> None:
    assert tables_after(tmp_path, homes=[str(tmp_path / "home")] * 2, days=days) == expected


def test_two_machines_without_a_common_lock_take_each_batch_once(expected: dict[str, Any], tmp_path: Path) -> None:
    """Concurrent commits are conflicts, and are tried again; each home folder has the locks of its machine."""
    homes = [str(tmp_path / name) for name in ("one", "other")]
    assert tables_after(tmp_path, homes=homes, days=[ALL, ALL], shared=str(tmp_path / "shared")) == expected
