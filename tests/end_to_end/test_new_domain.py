"""A source of a new domain is proposed, completed, declared, materialized and corrected by `goldpath` commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.settings import PROJECT
from tests.goldpath_process import environment

Command = Callable[..., subprocess.CompletedProcess[str]]
#: A path with what libraries read wrongly where they make an address of it.
HOME = "a höme #1 at 100%, or? a+b"
FIRST = [
    {"payment_id": f"p{n:03d}", "amount": f"{n}.50", "currency": "GBP", "paid_at": f"2026-11-19T08:{n:02d}:00Z"}
    for n in range(10, 20)
]
SAME_KEY = FIRST[0] | {"amount": "99.00"}
SECOND = [FIRST[1] | {"amount": "0.01"}, {"payment_id": "p900", "amount": "1.00", "currency": "EUR", "paid_at": "soon"}]
REJECTED = [{"payment_id": "p901", "amount": "-", "currency": "EUR", "paid_at": "2026-11-21T08:00:00Z"}]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's code, to which the new domain's code is added."""
    copy = tmp_path_factory.mktemp("project")
    for room in ("assets", "feature_repo", "pipelines", "ray_jobs", "serving", "infra"):
        shutil.copytree(PROJECT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def goldpath(project: Path) -> Command:
    """Runs a command of the copied project; it must succeed, or fail where `fails` is given."""
    env = environment(project / HOME, PYTHONPATH=str(project))
    env.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(*arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=env, cwd=project)
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result

    return run


REFUNDS = "\nrefund_id,payment_id,amount,NOTE,note,\n007,p010,1.50,NA,a,\n7,p011,NA,b,NA,\n"


def land(project: Path, day: str, rows: list[dict[str, str]]) -> None:
    folder = project / HOME / f"landing/shop/payments/dt={day}"
    folder.mkdir(parents=True)
    (folder / "payments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def proposed(project: Path, goldpath: Command) -> str:
    """The output of the proposal from the first delivery; a second source of the domain is proposed after it."""
    land(project, "2026-11-19", [*FIRST, SAME_KEY])
    (project / HOME / "landing/shop/payments/[/notes].txt").parent.mkdir()
    (project / HOME / "landing/shop/payments/[/notes].txt").write_text("not a delivery\n", encoding="utf-8")
    printed = goldpath("landing", "propose", "shop/payments", "--folder", "assets/shop/contracts").stdout
    refunds = project / HOME / "landing/shop/refunds/dt=2026-11-19/refunds.csv"
    refunds.parent.mkdir(parents=True)
    refunds.write_text(REFUNDS, encoding="utf-8")
    more = goldpath("landing", "propose", "shop/refunds", "--folder", "assets/shop/contracts").stdout
    assert "wrote " + str(project / "assets/shop/silver.py") in more
    again = goldpath("landing", "propose", "shop/refunds", "--folder", "assets/shop/contracts", fails=True)
    assert "an existing file is never overwritten" in again.stderr
    return printed


def test_a_source_without_a_contract_and_a_misplaced_file_are_listed(
    proposed: str, project: Path, goldpath: Command
) -> None:
    (project / "assets/shop").rename(project / "shop")
    states = {row["delivery"]: row["state"] for row in json.loads(goldpath("landing", "list", "--json").stdout)}
    table = goldpath("landing", "list").stdout
    (project / "shop").rename(project / "assets/shop")
    assert states == {
        "shop/payments/": "unknown source", "shop/refunds/": "unknown source", "shop/payments/[": "misplaced"
    }  # fmt: skip
    assert "shop/payments/[ " in table


def test_a_draft_with_unknown_values_stops_its_domain_alone(proposed: str, project: Path, goldpath: Command) -> None:
    assert "replace each `unknown` in domain.py, bronze_payments.yaml, silver_payments.yaml" in proposed
    tables = goldpath("tables")
    assert "the domain shop does not load" in tables.stderr
    assert str(project / "assets/shop/domain.py") in tables.stderr
    refused = goldpath("materialize", "silver/shop/payments", fails=True).stderr
    assert "owner, cost_centre" in refused


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        ("silver.py", "def broken(:\n", "silver.py, line 1"),
        ("silver.py", "import no_such_module\n", "No module named 'no_such_module'"),
        ("silver.py", "raise KeyError('x')\n", "silver.py, line 1"),
        ("silver.py", "import sys\n\nsys.exit(3)\n", "SystemExit: 3"),
        ("silver.py", "print('told to who runs it')\nimport no_such_module\n", "told to who runs it"),
        (
            "silver.py",
            (
                "import pipelines.features.declaration as d\nfrom assets.shop.domain import contract\n\n"
                "VIEW = d.feature_view(\n    contract('silver/payments'),\n)\n"
            ),
            "silver.py, line 4: feature view on silver/shop/payments: zone silver",
        ),
        ("domain.py", "", "cannot import name 'contract'"),
        ("contracts/silver_payments.yaml", "kind: [", "silver_payments.yaml"),
    ],
)
def test_a_failing_import_stops_its_domain_alone(
    proposed: str, project: Path, goldpath: Command, module: str, text: str, expected: str
) -> None:
    path = project / "assets/shop" / module
    completed = {
        file: file.read_text(encoding="utf-8")
        for file in (project / "assets/shop").rglob("*")
        if file.suffix in (".py", ".yaml")
    }
    _complete(project)
    path.write_text(text, encoding="utf-8")
    shown = goldpath("tables").stderr
    for file, before in completed.items():
        file.write_text(before, encoding="utf-8")
    assert expected in shown


def test_a_domain_folder_without_an_init_file_is_an_error_that_names_it(
    proposed: str, project: Path, goldpath: Command
) -> None:
    (project / "assets/shop/__init__.py").rename(project / "init")
    error = goldpath("materialize", "silver/shop/payments", fails=True).stderr
    (project / "init").rename(project / "assets/shop/__init__.py")
    assert "add an empty shop/__init__.py" in error


def _complete(project: Path) -> None:
    """Says what the proposal left unknown."""
    for path in (*(project / "assets/shop/contracts").glob("*.yaml"), project / "assets/shop/domain.py"):
        path.write_text(path.read_text(encoding="utf-8").replace("unknown", "shop"), encoding="utf-8")


@pytest.fixture(scope="module")
def materialized(proposed: str, project: Path, goldpath: Command) -> str:
    """The output of the first materialization, after the contracts were completed."""
    _complete(project)
    tables = [f"{zone}/shop/{source}" for source in ("payments", "refunds") for zone in ("bronze", "silver")]
    return goldpath("materialize", *tables).stdout


def test_the_completed_proposal_is_materialized_to_bronze_and_silver(materialized: str, goldpath: Command) -> None:
    misplaced = "misplaced: [: a folder whose name is no interval"
    assert f"warn bronze/shop/payments: 1 file with 11 rows taken; {misplaced}" in materialized
    words = "11 of 11 rows clean, 0 in quarantine; 1 superseded by a row with the same key; 10 in the table"
    assert f"ok   silver/shop/payments: {words}" in materialized
    rows = json.loads(goldpath("tables", "show", "silver/shop/payments", "--json").stdout)["rows"]
    assert {row["payment_id"]: row["amount"] for row in rows}["p010"] == "99.00"


def test_a_second_source_of_the_domain_is_materialized_with_every_value(materialized: str, goldpath: Command) -> None:
    rows = json.loads(goldpath("tables", "show", "silver/shop/refunds", "--json").stdout)["rows"]
    names = ("refund_id", "amount", "NOTE", "note_2", "column")
    assert sorted(tuple(row[name] for name in names) for row in rows) == [
        ("007", "1.50", "NA", "a", None), ("7", None, "b", "NA", None)
    ]  # fmt: skip


def test_later_deliveries_update_rows_and_a_rejected_row_is_corrected(
    materialized: str, project: Path, goldpath: Command
) -> None:
    land(project, "2026-11-20", SECOND)
    materialize = ("materialize", "bronze/shop/payments", "silver/shop/payments")
    assert "1 of 2 rows clean, 1 in quarantine; 10 in the table" in goldpath(*materialize).stdout
    land(project, "2026-11-21", REJECTED)
    assert "0 of 1 rows clean, 1 in quarantine; 10 in the table" in goldpath(*materialize).stdout
    assert "nothing new" in goldpath(*materialize).stdout
    waiting = json.loads(goldpath("quarantine", "list", "shop/payments", "--json").stdout)
    assert [[reason["code"] for reason in row["reasons"]] for row in waiting["rows"]] == [
        ["paid_at_type"], ["amount_type"],
    ]  # fmt: skip
    record_id = waiting["rows"][1]["record_id"]
    options = ("--record", record_id, "--set", "amount=7", "--note", "asked the shop", "--replay")
    goldpath("quarantine", "correct", "shop/payments", *options)
    record = json.loads(goldpath("quarantine", "show", "shop/payments", record_id, "--json").stdout)
    assert (record["place"], record["state"]) == ("clean", "corrected")
    assert [decision["act"] for decision in record["decisions"]] == ["correct", "replay"]


def test_a_refused_delivery_is_a_failure_of_the_command(materialized: str, project: Path, goldpath: Command) -> None:
    land(project, "2026-11-22", [])
    path = project / HOME / "landing/shop/payments/dt=2026-11-22/payments.jsonl"
    path.write_bytes(b"\x1f\x8b\x08 no archive")
    result = goldpath("materialize", "bronze/shop/payments", fails=True)
    assert result.stdout.startswith("FAIL bronze/shop/payments: 0 files with 0 rows taken")
    assert "unreadable: dt=2026-11-22/payments.jsonl" in result.stdout
    path.unlink()
    assert "FAIL" not in goldpath("materialize", "bronze/shop/payments").stdout
