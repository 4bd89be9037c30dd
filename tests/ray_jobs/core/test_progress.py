"""Epochs reach the waiting process, each once and in their order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from pipelines.models.program import Epoch, OnEpoch

if TYPE_CHECKING:
    from ray_jobs.core.progress import EpochFile

pytestmark = pytest.mark.ray

EPOCHS = [Epoch(number, 0.5, 0.6, 1.25) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def following(cluster: None) -> Callable[[OnEpoch], AbstractContextManager[EpochFile]]:
    """The function under test, imported after the cluster has set what Ray reads while it is imported."""
    from ray_jobs.core.progress import following

    return following


def _report(callback: EpochFile, epoch: Epoch) -> None:
    callback.after_report(None, [asdict(epoch), asdict(epoch)], None)


def test_every_epoch_is_delivered_before_the_block_is_left(
    following: Callable[[OnEpoch], AbstractContextManager[EpochFile]],
) -> None:
    delivered: list[Epoch] = []
    with following(delivered.append) as callback:
        for epoch in EPOCHS:
            _report(callback, epoch)
    assert delivered == EPOCHS


def test_epochs_before_an_error_in_the_block_are_delivered(
    following: Callable[[OnEpoch], AbstractContextManager[EpochFile]],
) -> None:
    delivered: list[Epoch] = []

    def fail_after_an_epoch() -> None:
        with following(delivered.append) as callback:
            _report(callback, EPOCHS[0])
            raise TimeoutError

    with pytest.raises(TimeoutError):
        fail_after_an_epoch()
    assert delivered == EPOCHS[:1]
