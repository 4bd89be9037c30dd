"""The demo, run once for all tests of this folder, as a user runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.machine import ports
from tests.end_to_end.programs import goldpath


@dataclass(frozen=True, slots=True)
class Demo:
    """A home folder in which the demo ran to its end, and its `report.json`."""

    home: Path
    report: dict[str, Any]

    def goldpath(self, *arguments: str) -> str:
        """Runs a command on this home folder and returns what it printed; fails if the command does."""
        return goldpath(self.home, *arguments)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("demo")
    goldpath(home, "demo", GOLDPATH_SERVING_PORT=str(ports.free_port()))
    return Demo(home, json.loads((home / "demo" / "report.json").read_text(encoding="utf-8")))
