"""A run's folder is used by one run, and resumed with the same configuration alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_jobs.core import run_folder
from ray_jobs.core.errors import TrainingError

IDENTITY = {"recipe": "a", "table": "t@1", "base": "none"}


def test_starting_a_run_with_a_used_name_raises_an_error(tmp_path: Path) -> None:
    run_folder.claim(str(tmp_path), "run", IDENTITY, resume="never")
    with pytest.raises(TrainingError, match="exists"):
        run_folder.claim(str(tmp_path), "run", IDENTITY, resume="never")


def test_a_run_with_the_same_identity_is_resumed(tmp_path: Path) -> None:
    run_folder.claim(str(tmp_path), "run", IDENTITY, resume="never")
    run_folder.claim(str(tmp_path), "run", IDENTITY, resume="always")


def test_resuming_a_run_that_never_started_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not exist"):
        run_folder.claim(str(tmp_path), "run", IDENTITY, resume="always")


@pytest.mark.parametrize("part", sorted(IDENTITY))
def test_resuming_with_another_identity_raises_an_error(tmp_path: Path, part: str) -> None:
    run_folder.claim(str(tmp_path), "run", IDENTITY, resume="never")
    with pytest.raises(TrainingError, match=f"another {part}"):
        run_folder.claim(str(tmp_path), "run", IDENTITY | {part: "other"}, resume="always")
