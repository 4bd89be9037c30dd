"""`goldpath doctor` checks the machine, reports each problem with advice, and changes nothing."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

from pipelines.commands import doctor_checks, home_checks
from pipelines.commands.doctor_checks import CheckResult, Status
from pipelines.definitions import all_contracts
from pipelines.governed.platform import Platform
from pipelines.machine import closed_port, ports
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.goldpath_process import goldpath


def _result(settings: Settings, name: str) -> CheckResult:
    return next(result for result in doctor_checks.check(settings) if result.name == name)


def test_everything_the_platform_needs_is_checked_and_each_problem_has_advice(tmp_path: Path) -> None:
    results = doctor_checks.check(Settings(home=tmp_path))
    names = {"Python", "packages", "home", "disk", "memory", "Java", "Delta JARs", "Chromium", "GPU", "clock", "Ray"}
    names.add("engine port")
    assert names <= {result.name for result in results}
    assert [result for result in results if result.status != "ok" and not result.advice] == []


@pytest.mark.parametrize(("status", "healthy"), [("ok", True), ("warn", True), ("fail", False)])
def test_a_machine_is_healthy_unless_a_check_failed(status: Status, healthy: bool) -> None:
    results = [CheckResult("disk", "ok", "9 GiB"), CheckResult("Java", status, "none", "install it")]
    assert doctor_checks.healthy(results) is healthy


def test_the_checks_create_no_files(tmp_path: Path) -> None:
    doctor_checks.check(Settings(home=tmp_path / "not-there-yet"))
    assert list(tmp_path.iterdir()) == []


def test_missing_jars_are_a_failure_only_for_the_spark_engine(tmp_path: Path) -> None:
    assert _result(Settings(home=tmp_path, engine="embedded", jars_dir=tmp_path), "Delta JARs").status == "warn"
    assert _result(Settings(home=tmp_path, engine="spark", jars_dir=tmp_path), "Delta JARs").status == "fail"


def test_an_unreadable_replay_clock_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("half past nine", encoding="utf-8")
    result = _result(Settings(home=tmp_path), "clock")
    assert result.status == "fail"
    assert "half past nine" in result.observed


def test_the_time_of_a_replay_clock_is_observed(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("2013-11-01T04:00:00+00:00", encoding="utf-8")
    result = _result(Settings(home=tmp_path), "clock")
    assert result.status == "warn"
    assert result.observed.startswith("the replay clock shows 2013-11-01T04:00:00+00:00")


def test_a_home_folder_below_a_file_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = _result(Settings(home=tmp_path / "file" / "home"), "home")
    assert result.status == "fail"
    assert "GOLDPATH_HOME" in result.advice


def test_a_taken_port_is_a_warning_that_names_its_holder(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        result = _result(Settings(home=tmp_path, serving_port=port), f"port {port}")
    assert result.status == "warn"
    assert f"(pid {os.getpid()})" in result.observed


@pytest.mark.parametrize(
    ("accounts", "engine_port", "status"),
    [([], "refuse", "ok"), (["ann"], "refuse", "fail"), (["ann"], "allow", "warn")],
)
def test_a_port_that_cannot_be_closed_to_other_accounts_is_reported(
    accounts: list[str],
    engine_port: Literal["refuse", "allow"],
    status: Status,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closed_port, "DROP_ALL", b"")  # as a kernel that takes no filter
    monkeypatch.setattr(closed_port, "other_accounts", lambda: accounts)
    result = _result(Settings(home=tmp_path, engine_port=engine_port), "engine port")
    assert (result.status, " ann," in result.observed) == (status, bool(accounts))


def test_packages_whose_version_differs_from_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# a comment\n"
        "typer==0.0.1 \\\n    --hash=sha256:00\n    # via somebody\n"
        "no-such-package==1.0 \\\n    --hash=sha256:00\n"
        "only-elsewhere==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n",
        encoding="utf-8",
    )
    typer, missing = doctor_checks.lock_differences(lock)
    assert typer.startswith("typer ")
    assert typer.endswith("(locked 0.0.1)")
    assert missing == "no-such-package missing (locked 1.0)"


def test_the_command_prints_json_and_exits_with_1_after_a_failure(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("half past nine", encoding="utf-8")
    process = goldpath(tmp_path, "doctor", "--json")
    assert process.returncode == 1, process.stderr
    entries = json.loads(process.stdout)
    assert [entry.keys() for entry in entries] == [{"name", "status", "observed", "advice"}] * len(entries)
    assert ("clock", "fail") in [(entry["name"], entry["status"]) for entry in entries]


def test_tables_that_no_contract_declares_are_told_by_domain(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", profile="test")
    house = Platform(settings, dict).lakehouse
    assert list(home_checks.undeclared_tables(settings)) == []
    for name in ("silver/removed/parts", "quarantine/removed/parts", "gold/removed/sums", "ops/platform/notes"):
        house.record(TableId.parse(name), pa.table({"part": ["brick"]}))
    declared = next(table for table in all_contracts() if table.zone == "silver")
    for zone in ("silver", "quarantine"):
        house.record(TableId(zone, declared.domain, declared.table), pa.table({"part": ["brick"]}))
    [result] = home_checks.undeclared_tables(settings)
    assert (result.name, result.status) == ("tables of removed", "warn")
    assert result.observed.startswith("gold/removed/sums, quarantine/removed/parts, silver/removed/parts: no contract")
    assert "assets/removed" in result.advice
