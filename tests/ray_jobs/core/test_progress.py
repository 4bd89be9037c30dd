"""What a run's journal says reaches the waiting process: each epoch once and in turn, whoever waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.models.program import Epoch, Progress, SearchProgress
from ray_jobs.core.progress import Journal, following

EPOCHS = [Epoch(number, 0.5, 0.6, 1.25, 1000) for number in (1, 2, 3)]
WITHIN = Progress(2, 3, 0.5, 0.55, 12_345.0, "tokens", 75.0)


def test_every_epoch_is_delivered_once_and_before_the_block_is_left(tmp_path: Path) -> None:
    delivered: list[Epoch | Progress | SearchProgress] = []
    with following(tmp_path, delivered.append):
        for count in (1, 2, 1, 3):  # a restart goes back to a checkpoint
            Journal("cpu", EPOCHS[:count]).write(tmp_path)
    assert delivered == EPOCHS


def test_who_follows_later_gets_the_epochs_before(tmp_path: Path) -> None:
    Journal("cpu", EPOCHS).write(tmp_path)
    delivered: list[Epoch | Progress | SearchProgress] = []
    with following(tmp_path, delivered.append):
        pass
    assert delivered == EPOCHS


def test_epochs_before_an_error_are_delivered(tmp_path: Path) -> None:
    delivered: list[Epoch | Progress | SearchProgress] = []

    def fail_after_an_epoch() -> None:
        with following(tmp_path, delivered.append):
            Journal("cpu", EPOCHS[:1]).write(tmp_path)
            raise TimeoutError

    with pytest.raises(TimeoutError):
        fail_after_an_epoch()
    assert delivered == EPOCHS[:1]


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Journal.read(tmp_path) is None
    journal = Journal("cpu", EPOCHS, [3, 7], WITHIN, {"kind": "TrainingError", "object": "training run a"})
    journal.write(tmp_path)
    assert Journal.read(tmp_path) == journal


def test_progress_says_how_far_how_fast_and_how_long() -> None:
    assert str(WITHIN) == "epoch 2 of 3, 50% done: loss 0.5500, 12,345 tokens a second, 0:01:15 left"
    assert str(replace(WITHIN, seconds_left=7260.4)).endswith("2:01:00 left")
    assert str(EPOCHS[0]) == "epoch 1: loss 0.5000, held out 0.6000, 1.2 s"
