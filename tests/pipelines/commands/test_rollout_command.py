"""`goldpath rollout` as people type it, on a home and a domain of its own; only the candidate's program is a toy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.commands.rollout import SENT_BACK
from pipelines.rollout import state
from pipelines.settings import PROJECT, Settings
from tests.goldpath_process import environment, goldpath
from tests.pipelines.rollout import arms
from tests.pipelines.rollout.toy_service import ToyRollout

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")

DOMAIN = """
import tempfile
from pathlib import Path

from pipelines.governed.asset import governed_asset
from pipelines.rollout.assets import service_asset
from tests.pipelines.models.trained import toy_spec
from tests.pipelines.rollout.toy_service import toy_service
from tests.pipelines.toy_contracts import TAGS


@governed_asset(key=("models", "toys", "bricks"), kind="model", owner="toy-data", tags=TAGS, kinds=("mlflow",))
def registered(run):
    "The model. Grain: one version."
    yield from ()


model = toy_spec("bricks", Path(tempfile.mkdtemp(dir=Path(__file__).parent)))
toys = model.domain
bricks = toy_service(model)
served = service_asset(bricks)
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose only domain has a service with a plan."""
    folder = tmp_path_factory.mktemp("project")
    for room in ("pipelines", "feature_repo", "ray_jobs", "serving", "infra", "tests"):
        (folder / room).symlink_to(PROJECT / room)
    (folder / "assets/toys").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "assets/__init__.py").touch()
    (folder / "assets/toys/__init__.py").write_text(DOMAIN)
    return folder


@pytest.fixture(scope="module")
def toy(project: Path) -> ToyRollout:
    """The service with two versions, in the project's home."""
    return ToyRollout.at(Settings(home=project / "home", profile="test"), project / "models")


@pytest.fixture(scope="module")
def run(project: Path) -> Run:
    def run(*words: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        result = goldpath(project / "home", "rollout", *words, PYTHONPATH=str(project), COLUMNS="80")
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        assert all(len(line) <= 80 for line in result.stderr.splitlines())
        return result

    return run


def test_people_start_watch_and_end_a_rollout(toy: ToyRollout, run: Run, project: Path) -> None:
    assert "no service has had a rollout" in run("status").stdout
    assert "it never had one" in run("status", "toys.bricks", fails=True).stderr
    assert "no domain that loads declares it" in run("start", "toys.none", "2", "--because", "x", fails=True).stderr
    started = run("start", "toys.bricks", "2", "--because", "fewer mistakes").stdout
    assert "toys.bricks@2, canary: starting" in started
    assert arms.calls(toy.settings) == ["watch"]
    assert "is under way" in run("start", "toys.bricks", "2", "--because", "again", fails=True).stderr
    controller = toy.controller()
    controller.look()
    toy.asked()
    controller.look()
    toy.asked(30)
    controller.look()
    shown = run("status", "toys.bricks").stdout
    assert "running, stage canary 50% (2 of 3): 50% of the questions" in shown
    assert "waits for 30 more answers of the candidate" in shown
    assert re.search(r"errors +0 +0 +0 to 0\.\d+ +0\.05 +30", shown)
    table = [line for line in shown.splitlines() if line.startswith(("guard", "errors", "missing"))]
    assert len(table) == 3
    assert all(len(line.rstrip()) <= 80 for line in table)
    with watching(project) as watcher:
        assert "paused" in run("pause", "toys.bricks", "--because", "lunch").stdout
        assert "running" in run("resume", "toys.bricks", "--because", "back").stdout
        assert "stage all (3 of 3)" in run("promote", "toys.bricks", "--because", "good").stdout
        controller.look()
        assert "answers every question" in run("abort", "toys.bricks", "--because", "wrong answers").stdout
        assert toy.route is None
        controller.look()
        watched, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == SENT_BACK
    assert "returned, after stage all (3 of 3)" in watched
    assert "wrong answers" in watched
    assert arms.calls(toy.settings).count("watch") == 4
    steps = run("history", "toys.bricks").stdout
    assert [word in steps for word in ("start, stage shadow", "by rollout", "lunch", "returned, stage all")] == [
        True
    ] * 4
    kept = json.loads(run("history", "toys.bricks", "--json").stdout)
    assert [step["what"] for step in kept["steps"] if step["what"] != "look"][-2:] == ["back", "returned"]
    assert kept["plan"]["stages"][1]["share"] == 0.5
    found = json.loads(run("status", "--json").stdout)
    assert [(each["service"], each["status"]) for each in found] == [("toys.bricks", "returned")]


def watching(project: Path) -> subprocess.Popen[str]:
    """`goldpath rollout watch` in a process of its own."""
    env = environment(project / "home", PYTHONPATH=str(project), COLUMNS="80")
    command = [sys.executable, "-m", "pipelines", "rollout", "watch", "toys.bricks"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=project)


@pytest.fixture
def promoted(toy: ToyRollout) -> Iterator[ToyRollout]:
    """The newest rollout as one that ended well."""
    present = toy.newest
    state.save(toy.settings, replace(present, status="promoted"))
    yield toy
    state.save(toy.settings, present)


def test_watching_a_rollout_that_ended_well_succeeds(promoted: ToyRollout, run: Run) -> None:
    assert "promoted, after stage" in run("watch", "toys.bricks").stdout


def test_status_says_that_nobody_looks_and_how_to_go_on(toy: ToyRollout, run: Run) -> None:
    present = toy.newest
    state.save(toy.settings, replace(present, status="running", looked_at=present.looked_at - 100))
    shown = run("status").stdout
    assert re.search(
        r"nobody looks at it: the last look was 1\d\d s ago\nto go on: goldpath materialize rollouts/toys/bricks", shown
    )
    state.save(toy.settings, present)
