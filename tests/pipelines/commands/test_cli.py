from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipelines.commands.app import app
from pipelines.commands.examination import PROJECT
from pipelines.cost import focus, metering
from pipelines.governed.platform import Platform

HEAVY = "dagster deltalake feast great_expectations mlflow numpy pandas pyarrow pydantic pyspark ray torch".split()

TAGS = {
    "owner": "flight-data",
    "cost_centre": "cc-100",
    "workload_class": "ingestion",
}


def _goldpath(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOLDPATH_", "RAY_", "DAGSTER_"))}
    kept |= {"PYTHONPATH": str(PROJECT), "GOLDPATH_HOME": str(home), "COLUMNS": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-c", "from pipelines.commands.app import app; app()", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=home.parent, env=kept | variables
    )


def _commands() -> list[list[str]]:
    group = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():  # ty: ignore[missing-attribute]
        inner = getattr(command, "commands", None)
        found += [[name, sub] for sub in inner] if inner else [[name]]
    return found


def test_the_commands_are_these() -> None:
    assert sorted(" ".join(command) for command in _commands()) == [
        "cost report",
        "demo",
        "dev",
        "doctor",
        "jars",
        "landing list",
        "landing propose",
        "landing retry",
        "lineage prediction",
        "materialize",
        "push",
        "quality docs",
        "quarantine correct",
        "quarantine discard",
        "quarantine list",
        "quarantine reopen",
        "quarantine replay",
        "quarantine show",
        "rebuild",
        "tables history",
        "tables show",
    ]


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_help_of_each_command_teaches_with_an_example_that_parses(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    example = re.search(r"Example: goldpath (.*?)\s*$", shown.output, re.MULTILINE)
    assert example, shown.output
    assert example[1].split()[: len(command)] == command
    parsed = CliRunner().invoke(app, [*example[1].split(), "--help"])
    assert parsed.exit_code == 0


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom pipelines.commands.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print('LOADED', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert done.stdout.rstrip().endswith("LOADED []")


def test_error_of_ours_is_a_short_panel_without_a_stack(tmp_path: Path) -> None:
    done = _goldpath("tables", home=tmp_path / "home", GOLDPATH_ENGINE="duckdb")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "SettingsError: environment variable GOLDPATH_ENGINE" in done.stderr
    assert re.search(r"observed +'duckdb'", done.stderr)
    for line in ("expected", "next"):
        assert re.search(rf"│ {line} +\w", done.stderr)
    assert "Traceback" not in done.stderr


def test_debug_shows_the_stack(tmp_path: Path) -> None:
    done = _goldpath("--debug", "tables", home=tmp_path / "home", GOLDPATH_ENGINE="duckdb")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "SettingsError" in done.stderr


def test_day_that_is_none_is_refused(tmp_path: Path) -> None:
    done = _goldpath("demo", "--through", "2013-02-30", home=tmp_path / "home")
    assert done.returncode == 1
    assert "2013-02-30" in done.stderr


def test_prediction_that_nobody_made_is_not_found(tmp_path: Path) -> None:
    done = _goldpath("lineage", "prediction", "no-such-id", home=tmp_path / "home")
    assert done.returncode == 1
    assert "NotFoundError: prediction 'no-such-id'" in done.stderr


def test_dagster_home_is_made_below_the_home_folder_and_left_alone_afterwards(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert _goldpath("tables", home=home).returncode == 0
    instance = home / "dagster" / "dagster.yaml"
    assert "telemetry:\n  enabled: false" in instance.read_text(encoding="utf-8")
    instance.write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    assert _goldpath("tables", home=home).returncode == 0
    assert instance.read_text(encoding="utf-8") == "telemetry: {enabled: false}\n"


@pytest.fixture
def charged(make_platform: Callable[[], Platform]) -> Path:
    """The home of a platform with two asset runs on its cost table."""
    platform = make_platform()
    begun = datetime(2025, 1, 1, tzinfo=UTC)
    for asset, seconds, workload in (("silver/x/a", 10.0, "ingestion"), ("gold/x/b", 90.0, "analytics")):
        rows = focus.focus_rows(
            asset=asset,
            run_id=f"run-of-{asset}",
            status="SUCCEEDED",
            usage=metering.Usage(begun, begun, seconds=seconds, cpu_seconds=seconds, peak_memory_bytes=2**30),
            sheet=platform.prices,
            tags=TAGS | {"workload_class": workload},
            service="goldpath test",
        )
        platform.lakehouse.record(focus.COSTS, rows)
    return platform.settings.root


def test_cost_report_ranks_what_runs_cost_by_a_tag(charged: Path) -> None:
    shown = _goldpath("cost", "report", "--by", "workload_class", home=charged)
    assert shown.returncode == 0, shown.stderr
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == ["analytics", "ingestion"]
    report = json.loads(_goldpath("cost", "report", "--by", "ResourceId", "--json", home=charged).stdout)
    assert [(row["ResourceId"], row["runs"]) for row in report] == [("gold/x/b", 1), ("silver/x/a", 1)]
    assert report[0]["cost"] == pytest.approx(9 * report[1]["cost"])
    assert "no cost row has it" in _goldpath("cost", "report", "--by", "colour", home=charged).stderr


def test_tables_lists_declared_and_existing_tables_with_version_and_rows(charged: Path) -> None:
    shown = _goldpath("tables", home=charged)
    assert re.search(r"^ops/platform/costs +1 +\d+", shown.stdout, re.MULTILINE)
    assert re.search(r"^silver/flights/airlines +- +- +1\.0\.0 +flight-data", shown.stdout, re.MULTILINE)
    listed = json.loads(_goldpath("tables", "--json", home=charged).stdout)
    by_name = {entry["table"]: entry for entry in listed}
    assert by_name["silver/flights/airlines"]["contract"] == "silver_airlines.yaml"
    assert by_name["silver/flights/airlines"]["rows"] is None
    assert by_name["ops/platform/costs"]["version"] == 1
    assert by_name["ops/platform/costs"]["rows"] > 2
