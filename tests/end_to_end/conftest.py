"""The whole road, run once for all tests of this folder, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.machine import ports

PROJECT = Path(__file__).parent.parent.parent
ENGINE = ("GOLDPATH_ENGINE", "GOLDPATH_JARS_DIR")


@dataclass(frozen=True, slots=True)
class Road:
    """A home folder in which the demo ran to its end."""

    home: Path
    report: dict[str, Any]
    output: str

    def goldpath(self, *arguments: str) -> str:
        """Runs a command on this home; raises if it fails."""
        return goldpath(self.home, *arguments)


def environment(home: Path, **more: str) -> dict[str, str]:
    """A child's environment with this home, the engine of the suite and nothing else of Goldpath's."""
    others = [name for name in os.environ if name.startswith(("GOLDPATH_", "DAGSTER_", "RAY_")) and name not in ENGINE]
    kept = {name: value for name, value in os.environ.items() if name not in others}
    path = os.pathsep.join([str(PROJECT), kept.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return kept | {"GOLDPATH_HOME": str(home), "PYTHONPATH": path, "COLUMNS": "200"} | more


def goldpath(home: Path, *arguments: str, **more: str) -> str:
    """Runs `goldpath` in a process of its own and returns what it printed."""
    command = [sys.executable, "-m", "pipelines", *arguments]
    done = subprocess.run(
        command, env=environment(home, **more), capture_output=True, text=True, timeout=1_500, cwd=home
    )
    assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    home = tmp_path_factory.mktemp("road")
    output = goldpath(home, "demo", GOLDPATH_SERVING_PORT=str(ports.free_port()))
    report = json.loads((home / "demo" / "report.json").read_text(encoding="utf-8"))
    return Road(home, report, output)
