"""A source of a domain that is not there yet: proposed, completed, declared, materialized, mended, and once more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.commands.examination import PROJECT

Command = Callable[..., subprocess.CompletedProcess[str]]
FIRST = [
    {"payment_id": f"p{n:03d}", "amount": f"{n}.50", "currency": "GBP", "paid_at": f"2026-11-19T08:{n:02d}:00Z"}
    for n in range(10, 20)
]
FIRST[3]["amount"] = "a lot"
TWICE = FIRST[0] | {"amount": "99.00"}
SECOND = [FIRST[1] | {"amount": "0.01"}, {"payment_id": "p900", "amount": "1.00", "currency": "EUR", "paid_at": "soon"}]
WRONG = [{"payment_id": "p901", "amount": "-", "currency": "EUR", "paid_at": "2026-11-21T08:00:00Z"}]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's rooms, since a new domain is code."""
    copy = tmp_path_factory.mktemp("project")
    for room in ("assets", "feature_repo", "pipelines", "ray_jobs", "serving", "infra"):
        shutil.copytree(PROJECT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def goldpath(project: Path) -> Command:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOLDPATH_", "RAY_", "DAGSTER_"))}
    kept |= {"PYTHONPATH": str(project), "GOLDPATH_HOME": str(project / "home"), "COLUMNS": "160", "NO_COLOR": "1"}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(*arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=kept, cwd=project)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    return run


def land(project: Path, day: str, rows: list[dict[str, str]]) -> None:
    folder = project / f"home/landing/shop/payments/dt={day}"
    folder.mkdir(parents=True)
    (folder / "payments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def proposed(project: Path, goldpath: Command) -> str:
    land(project, "2026-11-19", [*FIRST, TWICE])
    (project / "home/landing/shop/payments/notes.txt").write_text("kept beside\n", encoding="utf-8")
    return goldpath("landing", "propose", "shop/payments", "--folder", "assets/shop/contracts").stdout


def test_what_nobody_has_described_is_listed(proposed: str, project: Path, goldpath: Command) -> None:
    (project / "assets/shop").rename(project / "shop")
    found = {row["delivery"]: row["state"] for row in json.loads(goldpath("landing", "list", "--json").stdout)}
    (project / "shop").rename(project / "assets/shop")
    assert found == {"shop/payments/": "unknown source", "shop/payments/notes.txt": "misplaced"}


def test_what_cannot_be_known_has_to_be_said(proposed: str, goldpath: Command) -> None:
    assert "replace each `unknown` in bronze_payments.yaml, silver_payments.yaml" in proposed
    assert "customProperties.tags.cost_centre" in goldpath("tables", fails=True).stderr


def test_a_folder_that_is_no_package_is_named(proposed: str, project: Path, goldpath: Command) -> None:
    (project / "assets/shop/__init__.py").rename(project / "init")
    error = goldpath("materialize", "silver/shop/payments", fails=True).stderr
    (project / "init").rename(project / "assets/shop/__init__.py")
    assert "add an empty shop/__init__.py" in error


@pytest.fixture(scope="module")
def materialized(proposed: str, project: Path, goldpath: Command) -> str:
    for path in (project / "assets/shop/contracts").glob("*.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace("unknown", "shop"), encoding="utf-8")
    return goldpath("materialize", "bronze/shop/payments", "silver/shop/payments").stdout


def test_the_proposal_makes_both_tables(materialized: str, goldpath: Command) -> None:
    assert "ok   bronze/shop/payments: 1 file with 11 rows taken" in materialized
    words = "10 of 11 rows clean, 1 in quarantine; 1 superseded by a row with the same key; 9 in the table"
    assert f"ok   silver/shop/payments: {words}" in materialized
    shown = goldpath("tables", "show", "silver/shop/payments", "--json").stdout
    assert {row["payment_id"]: row["amount"] for row in json.loads(shown)["rows"]}["p010"] == 99.0


def test_later_deliveries_correct_and_are_corrected(materialized: str, project: Path, goldpath: Command) -> None:
    land(project, "2026-11-20", SECOND)
    both = ("materialize", "bronze/shop/payments", "silver/shop/payments")
    assert "1 of 2 rows clean, 1 in quarantine; 9 in the table" in goldpath(*both).stdout
    land(project, "2026-11-21", WRONG)
    assert "0 of 1 rows clean, 1 in quarantine; 9 in the table" in goldpath(*both).stdout
    assert "nothing new" in goldpath(*both).stdout
    waiting = json.loads(goldpath("quarantine", "list", "shop/payments", "--json").stdout)
    assert [[reason["code"] for reason in row["reasons"]] for row in waiting["rows"]] == [
        ["amount_type"], ["paid_at_type"], ["amount_type"],
    ]  # fmt: skip
    wrong = waiting["rows"][2]["record_id"]
    mended = ("--record", wrong, "--set", "amount=7", "--note", "asked the shop", "--replay")
    goldpath("quarantine", "correct", "shop/payments", *mended)
    found = json.loads(goldpath("quarantine", "show", "shop/payments", wrong, "--json").stdout)
    assert (found["place"], found["state"]) == ("clean", "corrected")
    assert [made["act"] for made in found["decisions"]] == ["correct", "replay"]
