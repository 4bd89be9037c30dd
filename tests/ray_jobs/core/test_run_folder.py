"""A run's name belongs to one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_jobs.core import run_folder
from ray_jobs.core.errors import TrainingError

IDENTITY = {"recipe": "a", "table": "t@1", "base": "none"}


def test_a_used_name_is_refused(tmp_path: Path) -> None:
    run_folder.claim(str(tmp_path), "run", IDENTITY, resume="never")
    with pytest.raises(TrainingError, match="exists"):
        run_folder.claim(str(tmp_path), "run", IDENTITY, resume="never")


def test_the_same_run_is_resumed(tmp_path: Path) -> None:
    run_folder.claim(str(tmp_path), "run", IDENTITY, resume="never")
    run_folder.claim(str(tmp_path), "run", IDENTITY, resume="always")


def test_a_run_that_never_began_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not exist"):
        run_folder.claim(str(tmp_path), "run", IDENTITY, resume="always")


@pytest.mark.parametrize("part", sorted(IDENTITY))
def test_another_run_is_not_resumed_under_the_same_name(tmp_path: Path, part: str) -> None:
    run_folder.claim(str(tmp_path), "run", IDENTITY, resume="never")
    with pytest.raises(TrainingError, match=f"another {part}"):
        run_folder.claim(str(tmp_path), "run", IDENTITY | {part: "other"}, resume="always")
