"""A full disk: the run says which, what is published stays, and with room again the next run gives the same tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "full_disk.py"
#: Ways to a mount that nobody else sees: as the owner of a user namespace, or as root.
ALONE = (["unshare", "--user", "--map-root-user", "--mount"], ["sudo", "-n", "-E", "unshare", "--mount"])
MOUNT = 'mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@"'


def on_a_disk_of_its_own(disk: Path, *command: str, home: Path) -> str:
    """What a command prints that finds a small file system at `disk`."""
    for alone in ALONE:
        allowed = subprocess.run([*alone, "sh", "-c", MOUNT, str(disk), "true"], capture_output=True, check=False)
        if allowed.returncode == 0:
            break
    done = subprocess.run(
        [*alone, "sh", "-c", MOUNT, str(disk), *command],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6_000:]
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    small, beside = tmp_path_factory.mktemp("small"), tmp_path_factory.mktemp("beside")
    command = [sys.executable, str(PROGRAM), str(small), str(beside)]
    found: dict[str, Any] = json.loads(on_a_disk_of_its_own(small, *command, home=beside))
    return found


@pytest.mark.parametrize("step", ["ledger", "bronze", "silver", "landing"])
def test_a_run_on_a_full_disk_says_which_and_what_to_do_and_changes_nothing(report: dict[str, Any], step: str) -> None:
    found = report[step]
    assert found["kept"]
    assert found["litter"] == []
    assert found["failures"]
    for words in found["failures"]:
        assert "disk of " in words
        assert "No space left on device" in words or "database or disk is full" in words
        assert "Next: free space there and run the asset again" in words
    folder = "small" if step == "landing" else "lakehouse"
    assert any(folder in words for words in found["failures"])


def test_with_room_again_the_next_run_gives_the_same_tables(report: dict[str, Any]) -> None:
    assert report["equal"] == dict.fromkeys(report["equal"], True)
    assert report["landing"]["equal"]
