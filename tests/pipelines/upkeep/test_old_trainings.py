"""Folders of trainings that nothing was written into for long are removed, unless a run uses them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.governed.platform import Platform
from pipelines.models import unfinished
from pipelines.settings import Settings
from pipelines.upkeep.maintenance import KEEP
from pipelines.upkeep.trainings import old_trainings

OLD = datetime(2020, 2, 1, tzinfo=UTC)
Leave = Callable[[str], Path]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(Settings(home=tmp_path / "home", profile="test"), dict)


def _grow_old(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (OLD.timestamp(), OLD.timestamp()))


@pytest.fixture
def killed(platform: Platform) -> Leave:
    """Leaves the folder of an old training that was killed, with a checkpoint of 7 bytes."""

    def leave(name: str) -> Path:
        root = platform.settings.root / "training"
        with (
            contextlib.suppress(KeyboardInterrupt),
            unfinished.claimed(root, "shop-returns", name, {"recipe": name}) as (folder, _),
        ):
            checkpoint = folder / "checkpoints" / "run" / "step-000000005" / "weights"
            checkpoint.parent.mkdir(parents=True)
            checkpoint.write_bytes(b"7 bytes")
            raise KeyboardInterrupt
        _grow_old(root / name)
        return root / name

    return leave


def test_the_folder_of_an_old_training_is_removed_finished_or_not(platform: Platform, killed: Leave) -> None:
    unfinished_folder, finished = killed("shop-returns-1"), killed("shop-returns-2")
    (finished / unfinished.NOTE).unlink()
    first, second = old_trainings(platform)
    assert (first.name, first.words) == ("training/shop-returns-1", "unfinished, last written 2020-02-01")
    assert (first.files_before, first.files_after, first.bytes_freed > 7) == (3, 0, True)
    assert (second.name, second.words) == ("training/shop-returns-2", "finished, last written 2020-02-01")
    assert not unfinished_folder.exists()
    assert not finished.exists()
    assert old_trainings(platform) == []


def test_a_training_that_something_was_written_into_of_late_stays(platform: Platform, killed: Leave) -> None:
    """As a job of a cluster does whose run was killed: it holds no lock."""
    folder = killed("shop-returns-1")
    (folder / "checkpoints" / "run" / "journal.json").write_text("{}", encoding="utf-8")
    assert old_trainings(platform) == []
    assert old_trainings(platform, keep=-KEEP) != []


def test_a_training_that_a_run_uses_stays(platform: Platform, killed: Leave) -> None:
    folder = killed("shop-returns-1")
    with unfinished.claimed(folder.parent, "shop-returns", "new", {"recipe": "shop-returns-1"}) as (claimed, _):
        assert claimed == folder
        _grow_old(folder)
        assert old_trainings(platform) == []
    assert folder.exists()
