from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands import examination
from pipelines.commands.examination import Answer, Status
from pipelines.machine import ports
from pipelines.settings import Settings


def _finding(settings: Settings, name: str) -> Answer:
    return next(answer for answer in examination.examine(settings) if answer.name == name)


def test_each_need_is_answered_and_each_problem_comes_with_advice(tmp_path: Path) -> None:
    answers = examination.examine(Settings(home=tmp_path))
    names = {answer.name for answer in answers}
    wanted = {"Python", "packages", "home", "disk", "memory", "Java", "Delta JARs", "Chromium", "GPU", "clock", "Ray"}
    assert wanted <= names
    assert [answer for answer in answers if answer.status != "ok" and not answer.advice] == []


@pytest.mark.parametrize(("status", "healthy"), [("ok", True), ("warn", True), ("fail", False)])
def test_only_a_failure_makes_the_machine_unfit(status: Status, healthy: bool) -> None:
    assert examination.healthy([Answer("disk", "ok", "9 GiB"), Answer("Java", status, "none", "install it")]) is healthy


def test_looking_leaves_no_file_behind(tmp_path: Path) -> None:
    examination.examine(Settings(home=tmp_path / "not-there-yet"))
    assert list(tmp_path.iterdir()) == []


def test_missing_jars_fail_only_where_the_engine_needs_them(tmp_path: Path) -> None:
    assert _finding(Settings(home=tmp_path, engine="embedded", jars_dir=tmp_path), "Delta JARs").status == "warn"
    assert _finding(Settings(home=tmp_path, engine="spark", jars_dir=tmp_path), "Delta JARs").status == "fail"


def test_unreadable_replay_clock_is_found(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("half past nine", encoding="utf-8")
    answer = _finding(Settings(home=tmp_path), "clock")
    assert answer.status == "fail"
    assert "half past nine" in answer.observed


def test_replay_clock_is_shown(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("2013-11-01T04:00:00+00:00", encoding="utf-8")
    assert _finding(Settings(home=tmp_path), "clock").observed == "a replay stands at 2013-11-01 04:00 UTC"


def test_home_below_something_that_is_no_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = _finding(Settings(home=tmp_path / "file" / "home"), "home")
    assert answer.status == "fail"
    assert "GOLDPATH_HOME" in answer.advice


def test_taken_port_names_its_holder(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        answer = _finding(Settings(home=tmp_path, serving_port=port), f"port {port}")
    assert answer.status == "warn"
    assert f"(pid {os.getpid()})" in answer.observed


def test_package_that_differs_from_the_lock_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# a comment\n"
        "typer==0.0.1 \\\n    --hash=sha256:00\n    # via somebody\n"
        "no-such-package==1.0 \\\n    --hash=sha256:00\n"
        "only-elsewhere==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n",
        encoding="utf-8",
    )
    typer, missing = examination.lock_differences(lock)
    assert typer.startswith("typer ")
    assert typer.endswith("(locked 0.0.1)")
    assert missing == "no-such-package missing (locked 1.0)"


def test_command_answers_programs_in_json_and_with_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("half past nine", encoding="utf-8")
    command = [sys.executable, "-c", "from pipelines.commands.app import app; app()", "doctor", "--json"]
    environment = {**os.environ, "GOLDPATH_HOME": str(tmp_path), "PYTHONPATH": str(examination.PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert {"clock": "fail"}.items() <= {entry["name"]: entry["status"] for entry in json.loads(done.stdout)}.items()
