"""A run's folder is used by one run, and resumed with the same configuration alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_jobs.core import run_folder
from ray_jobs.core.errors import TrainingError

IDENTITY = {"recipe": "a", "table": "t@1", "base": "none"}


def test_a_run_goes_on_in_its_folder(tmp_path: Path) -> None:
    assert not run_folder.claim(tmp_path / "run", IDENTITY)
    assert run_folder.claim(tmp_path / "run", IDENTITY)


@pytest.mark.parametrize("part", sorted(IDENTITY))
def test_another_run_in_the_folder_raises_an_error(tmp_path: Path, part: str) -> None:
    run_folder.claim(tmp_path / "run", IDENTITY)
    with pytest.raises(TrainingError, match=f"another {part}"):
        run_folder.claim(tmp_path / "run", IDENTITY | {part: "other"})
