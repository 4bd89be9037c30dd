"""`goldpath demo --language` on made-up packages and a tiny base model: a run that is killed loses nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipelines.models import admission
from pipelines.models.registry import EVIDENCE_FOLDER, Registry
from pipelines.settings import PROJECT, Settings
from ray_jobs.core.checkpoint_folder import complete
from ray_jobs.core.progress import Journal
from tests.end_to_end.programs import FOLDER, environment
from tests.end_to_end.waiting_tuning import WAIT_FILE
from tests.pipelines.sources.installed import install

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
]

Start = Callable[[Path], subprocess.Popen[str]]

MODEL = "packages.summaries"
PROGRAM = "assets.packages.waiting_tuning:WaitingTuning"
KILLED_AFTER = 20
EPOCHS = 6
#: The recipe of the copied domain; everything that it does not name is as it stands in the project.
RECIPE = """
import dataclasses as _dataclasses

_summaries = summaries


def summaries():
    from ray_jobs.text.base_models import BaseModel
    from ray_jobs.text.recipe import Lora

    return _dataclasses.replace(
        _summaries(), base=BaseModel(**{base!r}), adapter=Lora(rank=4, dropout=0.1), epochs={epochs}, batch_size=4,
        checkpoint_interval_steps=5, learning_rate=1e-2, compared_answers=4, sequence_tokens=256,
    )
"""
FUNCTION = '''
def count_{n}_{place}(box):
    """Counts the toys in box {n} of room {place}.

    Opens box {n}, looks at each toy of room {place}, and leaves all of them where they were: nothing is lost, nothing
    is sold, and {n} is the number that stands on the lid of the box.
    """
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose packages domain reads made-up packages and tunes a tiny language model."""
    from tests.ray_jobs.text import tiny

    copy, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    for n in range(40):
        functions = "".join(FUNCTION.format(n=n, place=place) for place in ("one", "two"))
        install(site, f"toys-{n}", "1.0", {f"toys{n}.py": functions})
    base = tiny.language_model(tmp_path_factory.mktemp("base"))
    for room in ("assets", "feature_repo", "pipelines", "ray_jobs", "serving", "infra"):
        shutil.copytree(PROJECT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "flights", "weather"))
    domain = copy / "assets" / "packages"
    shutil.copy(FOLDER / "waiting_tuning.py", domain / "waiting_tuning.py")
    _change(domain / "landing.py", "Docstrings(functions=100, modules=20)", f"Docstrings(4, 2, ({str(site)!r},))")
    _change(domain / "model.py", "program=CAUSAL_LM", f'program=replace(CAUSAL_LM, place="{PROGRAM}")')
    _change(domain / "model.py", "SUMMARIES = ", "from dataclasses import replace\n\nSUMMARIES = ")
    with (domain / "recipe.py").open("a", encoding="utf-8") as recipe:
        recipe.write(RECIPE.format(base=asdict(base), epochs=EPOCHS))
    return copy


def _change(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Starts the demo in a home as a user does; it is killed at the end of the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(home: Path) -> subprocess.Popen[str]:
        env = environment(home, PYTHONPATH=str(project))
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        with (home.parent / f"{home.name}.log").open("a", encoding="utf-8") as log:
            command = [sys.executable, "-m", "pipelines", "demo", "--language"]
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, text=True, cwd=project)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def _ended(process: subprocess.Popen[str], home: Path) -> dict[str, Any]:
    """Waits for the demo and returns its figures."""
    assert process.wait(timeout=600) == 0, (home.parent / f"{home.name}.log").read_text(encoding="utf-8")[-6_000:]
    return json.loads((home / "demo" / "language.json").read_text(encoding="utf-8"))


def _run_folders(home: Path) -> list[Path]:
    return list(home.glob("training/*/checkpoints/*"))


def _steps(home: Path) -> int:
    """The steps of the last checkpoint; 0 while there is none, or another one is removed."""
    try:
        return max((each.position.steps for folder in _run_folders(home) for each in complete(folder)), default=0)
    except FileNotFoundError:
        return 0


def _killed_after(process: subprocess.Popen[str], home: Path, steps: int) -> None:
    """Kills a demo once the checkpoint after so many steps is there."""
    while _steps(home) != steps:
        assert process.poll() is None, (home.parent / f"{home.name}.log").read_text(encoding="utf-8")[-6_000:]
        time.sleep(0.1)
    process.kill()
    process.wait()


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_run_of_the_language_demo_ends_with_the_model_of_one_that_was_not(
    start: Start, tmp_path: Path
) -> None:
    calm_home, home = tmp_path / "calm", tmp_path / "killed"
    for folder in (calm_home, home):
        folder.mkdir()
    (home / WAIT_FILE).write_text(str(KILLED_AFTER), encoding="utf-8")
    calm, first = start(calm_home), start(home)
    _killed_after(first, home, KILLED_AFTER)
    (home / WAIT_FILE).unlink()  # its workers end with it, still waiting
    calm_figures, figures = _ended(calm, calm_home), _ended(start(home), home)

    [run_folder] = _run_folders(home)
    journal = Journal.read(run_folder)
    assert journal is not None
    assert (journal.resumed_after, len(journal.epochs)) == ([KILLED_AFTER], EPOCHS)
    settings = Settings(profile="test", home=home)
    champion, model = admission.champion(settings, MODEL)  # signed, judged, with a complete card
    assert [version.digest for version in Registry(settings).versions(MODEL)] == [champion.digest]
    _, calm_model = admission.champion(Settings(profile="test", home=calm_home), MODEL)
    assert _files(model) == _files(calm_model)
    standings = figures["standings"]
    assert standings == calm_figures["standings"]
    assert standings["challenger"]["held_out_loss"] < standings["baseline"]["held_out_loss"]
    assert (figures["workers"], figures["is_champion"]) == (2, True)
    card = (model.parent / EVIDENCE_FOLDER / "card.md").read_text(encoding="utf-8")
    assert "base model tiny-llama, licence Apache-2.0" in card
