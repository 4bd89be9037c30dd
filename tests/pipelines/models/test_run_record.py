"""A run record is read back as it was written; an incomplete one raises an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelError
from pipelines.models import run_record
from pipelines.models.run_record import RECORD_FILE, RunRecord


def record(**changes: object) -> RunRecord:
    values: dict[str, object] = {
        "created_at": run_record.now(),
        "code_version": "0123abcd",
        "code_dirty": False,
        "dataset_versions": {"gold/toys/training_set": 3, "silver/toys/blocks": 7},
        "feature_service": "blocks_v1",
        "as_of_rule": "last row no later than the question",
        "hyperparameters": {"layers": [64, 32], "learning_rate": 0.001},
        "environment": run_record.environment(),
        "base_model": None,
        "base_image": None,
        "accelerator": "cpu",
        "artifacts": {"model.json": "ab" * 32},
        "dagster_run_id": "a7a0f4c2-4b2d-4d6e-9a43-2b1f1e3b5c11",
    }
    merged: Any = values | changes
    return RunRecord(**merged)


def test_a_written_record_is_read_back(tmp_path: Path) -> None:
    written = record()
    assert written.write(tmp_path) == tmp_path / RECORD_FILE
    assert RunRecord.read(tmp_path) == written


def test_a_folder_without_a_record_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no complete run record.*train the model through its Dagster asset"):
        RunRecord.read(tmp_path)


def test_a_record_of_an_earlier_release_has_no_figures_of_what_the_training_took(tmp_path: Path) -> None:
    path = record(efficiency={"training_cost": 1.0}).write(tmp_path)
    assert RunRecord.read(tmp_path).efficiency == {"training_cost": 1.0}
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["efficiency"]
    path.write_text(json.dumps(document), encoding="utf-8")
    assert RunRecord.read(tmp_path).efficiency == {}


@pytest.mark.parametrize("field", [field.name for field in fields(RunRecord) if field.name != "efficiency"])
def test_a_record_without_a_field_raises_an_error_with_the_field(tmp_path: Path, field: str) -> None:
    path = record().write(tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    del document[field]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ModelError, match=f"missing.*'{field}'"):
        RunRecord.read(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"colour": "red"}'])
def test_a_damaged_record_raises_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match="no complete run record"):
        RunRecord.read(tmp_path)


def test_the_environment_has_the_versions_of_interpreter_and_libraries() -> None:
    environment = run_record.environment()
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"system", "torch", "ray", "deltalake", "pysail"} <= environment.keys()


def test_the_code_version_of_a_checkout_is_its_commit_and_whether_it_is_dirty(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    assert run_record.code_version(tmp_path) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "new.py").write_text("", encoding="utf-8")
    assert run_record.code_version(tmp_path) == (git("rev-parse", "HEAD"), True)


def test_the_code_version_outside_a_checkout_is_the_distributions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "goldpath-9.8.7.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: goldpath\nVersion: 9.8.7\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(installed.parent))
    assert run_record.code_version(tmp_path) == ("goldpath 9.8.7", None)


@pytest.mark.parametrize(("slow", "commit"), [("rev-parse", None), ("status", "0123abcd")])
def test_a_git_that_does_not_answer_in_time_loses_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str, commit: str | None
) -> None:
    git = tmp_path / "git"
    git.write_text(f'#!/bin/sh\n[ "$3" = {slow} ] && exec sleep 60\necho 0123abcd\n', encoding="utf-8")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(run_record, "GIT_SECONDS", 1.0)
    version, dirty = run_record.code_version(tmp_path)
    assert dirty is None
    assert version == commit or (commit is None and version.startswith("goldpath "))
