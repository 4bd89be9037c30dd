"""`goldpath` in processes of its own, on a home folder, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipelines.settings import PROJECT


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a child process with this home folder, and no other variable of Goldpath, Dagster or Ray."""
    prefixes = ("GOLDPATH_", "DAGSTER_", "RAY_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    own = {"GOLDPATH_HOME": str(home), "PYTHONPATH": str(PROJECT), "COLUMNS": "160", "NO_COLOR": "1"}
    return inherited | own | variables


def goldpath(home: Path, *arguments: str, timeout: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command and returns its result, also if the command fails.

    Args:
        home: The home folder; the process works in the folder above it.
        arguments: The command and its arguments.
        timeout: The time limit, in seconds.
        variables: Environment variables beyond those of `environment`.
    """
    command = [sys.executable, "-m", "pipelines", *arguments]
    env = environment(home, **variables)
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, cwd=home.parent, env=env
    )
