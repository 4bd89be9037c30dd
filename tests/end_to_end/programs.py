"""Runs `goldpath` and the programs of this folder in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import goldpath_process

FOLDER = Path(__file__).parent
ENGINE = ("GOLDPATH_ENGINE", "GOLDPATH_JARS_DIR")


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a child process with this home folder and the suite's engine, and nothing else of Goldpath."""
    engine = {name: os.environ[name] for name in ENGINE if name in os.environ}
    return goldpath_process.environment(home, **(engine | variables))


def goldpath(home: Path, *arguments: str, **variables: str) -> str:
    """Runs a `goldpath` command and returns what it printed; fails if the command does."""
    command = [sys.executable, "-m", "pipelines", *arguments]
    env = environment(home, **variables)
    process = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1_500, cwd=home, check=False)
    output = f"{process.stdout[-4_000:]}\n{process.stderr[-4_000:]}"
    assert process.returncode == 0, f"{arguments}: exit {process.returncode}\n{output}"
    return process.stdout


def report(program: str, *arguments: object, home: Path, prefix: Sequence[str] = ()) -> dict[str, Any]:
    """Runs a program of this folder and returns the JSON object in its last line of output; fails if the program does.

    Args:
        program: The program's file name.
        arguments: Its arguments.
        home: The home folder in its environment.
        prefix: A command that runs the program with other rights, such as `setpriv` and its options.
    """
    command = [*prefix, sys.executable, str(FOLDER / program), *map(str, arguments)]
    process = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=240, check=False)
    assert process.returncode == 0, process.stderr[-6_000:]
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result
