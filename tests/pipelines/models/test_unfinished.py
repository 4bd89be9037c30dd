"""A training that was killed leaves its folder to the next run with the same configuration."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from pipelines.models import unfinished
from pipelines.models.program import Program
from ray_jobs.programs import TABULAR

IDENTITY = {"recipe": "a", "training set": "gold/shop/training_set@1", "code": "c"}


def _claim_and_die(root: Path) -> None:
    with unfinished.claimed(root, "shop-returns", "shop-returns-1", IDENTITY):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The folder of all trainings, after the process of one was killed."""
    process = multiprocessing.get_context("fork").Process(target=_claim_and_die, args=(tmp_path,))
    process.start()
    process.join()
    return tmp_path


def test_the_next_run_goes_on_in_the_folder_of_a_killed_one_and_the_one_after_it_does_not(killed: Path) -> None:
    with unfinished.claimed(killed, "shop-returns", "shop-returns-2", IDENTITY) as claim:
        assert claim == (killed / "shop-returns-1", True)
    with unfinished.claimed(killed, "shop-returns", "shop-returns-3", IDENTITY) as claim:
        assert claim == (killed / "shop-returns-3", False)


def test_an_error_leaves_the_training_unfinished(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disk"), unfinished.claimed(tmp_path, "m", "m-1", IDENTITY):
        raise ValueError("disk")
    with unfinished.claimed(tmp_path, "m", "m-2", IDENTITY) as claim:
        assert claim == (tmp_path / "m-1", True)


@pytest.mark.parametrize("part", sorted(IDENTITY))
def test_a_run_with_another_configuration_gets_a_folder_of_its_own(killed: Path, part: str) -> None:
    with unfinished.claimed(killed, "shop-returns", "shop-returns-2", IDENTITY | {part: "other"}) as claim:
        assert claim == (killed / "shop-returns-2", False)


def test_another_model_of_the_same_configuration_gets_a_folder_of_its_own(killed: Path) -> None:
    with unfinished.claimed(killed, "shop-orders", "shop-orders-1", IDENTITY) as claim:
        assert claim == (killed / "shop-orders-1", False)


def test_a_folder_that_is_in_use_is_left_to_its_process(tmp_path: Path) -> None:
    with (
        unfinished.claimed(tmp_path, "m", "m-1", IDENTITY),
        unfinished.claimed(tmp_path, "m", "m-2", IDENTITY) as claim,
    ):
        assert claim == (tmp_path / "m-2", False)


def test_a_damaged_note_is_nobodys(killed: Path) -> None:
    (killed / "shop-returns-1" / unfinished.NOTE).write_text("{")
    with unfinished.claimed(killed, "shop-returns", "shop-returns-2", IDENTITY) as claim:
        assert claim == (killed / "shop-returns-2", False)


def test_the_code_of_a_program_is_that_of_its_package_and_of_the_fabric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "digested_program"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "program.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    program = Program("digested_program.program:X", loads="digested_program.program:load", tasks=(), kinds=())
    before = unfinished.code_digest(program)
    assert before == unfinished.code_digest(program) != unfinished.code_digest(TABULAR)
    (package / "program.py").write_text("x = 2\n")
    assert unfinished.code_digest(program) != before
