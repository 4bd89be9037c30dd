"""A run on a full disk fails with an error that names the disk and changes nothing; with space again, the next run
gives the same tables as without the failure.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Commands that give a process mounts of its own: as the owner of a user namespace, or as root.
NAMESPACES = (["unshare", "--user", "--map-root-user", "--mount"], ["sudo", "-n", "-E", "unshare", "--mount"])
MOUNT = 'mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@"'


def with_small_disk(mount_point: Path) -> list[str]:
    """The prefix of a command that runs with a small file system mounted at a folder, which no other process sees."""
    for namespace in NAMESPACES:
        prefix = [*namespace, "sh", "-c", MOUNT, str(mount_point)]
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            # Some kernels let nobody in a user namespace close a port, and the machine may have other accounts.
            return [*prefix, "env", "GOLDPATH_ENGINE_PORT=allow"]
    pytest.fail("this user may not mount a file system, neither in a user namespace nor by sudo")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    small, beside = tmp_path_factory.mktemp("small"), tmp_path_factory.mktemp("beside")
    return programs.report("full_disk.py", small, beside, home=beside, prefix=with_small_disk(small))


@pytest.mark.parametrize("step", ["ledger", "bronze", "silver", "landing"])
def test_a_run_on_a_full_disk_names_the_disk_and_changes_nothing(report: dict[str, Any], step: str) -> None:
    assert report[step]["unchanged"]
    assert report[step]["leftovers"] == []
    assert report[step]["failures"]
    for message in report[step]["failures"]:
        assert "disk of " in message
        assert "No space left on device" in message or "database or disk is full" in message
        assert "Next: free space there and run the asset again" in message
    folder = "small" if step == "landing" else "lakehouse"
    assert any(folder in message for message in report[step]["failures"])


def test_with_space_again_the_next_run_gives_the_same_tables(report: dict[str, Any]) -> None:
    assert report["equal"] == dict.fromkeys(report["equal"], True)
    assert report["landing"]["equal"]
