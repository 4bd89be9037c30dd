"""The home folder that the demo leaves: private, whole, each damaged file of its models and services named, movable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.machine import ports
from pipelines.settings import Settings
from pipelines.upkeep import home_files
from tests.end_to_end.conftest import Demo
from tests.end_to_end.programs import goldpath

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_800)]

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "garbage": lambda content: os.urandom(len(content)),
}
#: One file of each kind that a model or a service depends on, and the file that the doctor names for it.
FILES = {
    "mlflow/mlflow.db": "mlflow/mlflow.db",
    "mlflow/artifacts/*/*/artifacts/evidence/run_record.json": "",
    "mlflow/artifacts/*/*/artifacts/model/model.safetensors": "mlflow/artifacts/*/*/artifacts/evidence/run_record.json",
    "mlflow/artifacts/*/*/artifacts/model/model.json": "mlflow/artifacts/*/*/artifacts/evidence/run_record.json",
    "features/*/state.json": "",
    "features/*/*/*registry*.db": "",
    "features/*/*/online.db": "",
    "serving/deployments/*.json": "",
    "serving/models/*/*/model/model.safetensors": "serving/models/*/*/model/model.json",
    "serving/models/*/*/model/model.json": "",
    "serving/predictions/*/*.jsonl": "",
}


def first(home: Path, glob: str) -> Path:
    return min(home.glob(glob))


def test_no_other_account_may_read_a_file_of_the_home(demo: Demo) -> None:
    paths = [path for path in demo.home.rglob("*") if not path.is_symlink()]
    assert [path for path in paths if path.stat().st_mode & 0o077] == []


def test_every_file_of_the_home_has_a_kind_and_is_whole(demo: Demo) -> None:
    assert [path for path, kind in home_files.walk(demo.home) if kind is None] == []
    assert list(home_files.damages(Settings(home=demo.home))) == []


def test_the_doctor_finds_nothing_to_mend(demo: Demo) -> None:
    found = json.loads(goldpath(demo.home, "doctor", "--json"))
    assert [entry for entry in found if entry["status"] == "fail"] == []
    assert not [entry for entry in found if entry["name"].startswith("data class")]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("glob", FILES)
def test_a_damaged_file_of_a_model_or_a_service_is_named(demo: Demo, glob: str, damage: str, tmp_path: Path) -> None:
    for folder in ("mlflow", "features", "serving"):
        shutil.copytree(demo.home / folder, tmp_path / folder)
    path = first(tmp_path, glob)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    named = [found.path for found in home_files.damages(Settings(home=tmp_path))]
    if path.suffix == ".jsonl" and damage != "garbage":  # its last line may be one that is being written
        assert named == []
    else:
        assert named == [first(tmp_path, FILES[glob] or glob)]


def test_a_copy_of_the_home_serves_its_model_and_leaves_the_first_one_alone(demo: Demo, tmp_path: Path) -> None:
    copy = tmp_path / "moved é 1"
    subprocess.run(["cp", "-a", str(demo.home), str(copy)], check=True)
    before = {path: path.stat().st_mtime_ns for path in demo.home.rglob("*")}
    printed = goldpath(
        copy, "materialize", "serving/flights/arrival_delay", GOLDPATH_SERVING_PORT=str(ports.free_port())
    )
    assert "serving/flights/arrival_delay" in printed
    assert {path: path.stat().st_mtime_ns for path in demo.home.rglob("*")} == before
    assert str(demo.home) not in first(copy, "serving/deployments/*.json").read_text("utf-8")
