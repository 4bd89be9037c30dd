"""The `goldpath` commands: which there are, their help, their errors, and the output of the short ones."""

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
from pipelines.cost import focus, metering
from pipelines.governed.platform import Platform
from pipelines.settings import PROJECT
from tests.goldpath_process import goldpath

HEAVY = (
    "dagster deltalake feast great_expectations mlflow numpy pandas pyarrow pydantic pyspark ray sqlglot torch".split()
)

TAGS = {
    "owner": "flight-data",
    "cost_centre": "cc-100",
    "workload_class": "ingestion",
}


def _commands() -> list[list[str]]:
    """The words of each command: `[group, command]`, or `[command]`."""
    group = typer.main.get_command(app)
    commands = []
    for name, command in group.commands.items():  # ty: ignore[missing-attribute]
        subcommands = getattr(command, "commands", None)
        commands += [[name, subcommand] for subcommand in subcommands] if subcommands else [[name]]
    return commands


def test_goldpath_has_exactly_these_commands() -> None:
    assert sorted(" ".join(command) for command in _commands()) == [
        "contracts export",
        "contracts import",
        "cost report",
        "demo",
        "dev",
        "doctor",
        "features compare",
        "features drift",
        "features freshness",
        "features get",
        "features history",
        "features impact",
        "features list",
        "features parity",
        "features promote",
        "features quality",
        "features rollback",
        "features show",
        "follow",
        "jars",
        "landing list",
        "landing propose",
        "landing retake",
        "landing retry",
        "lineage prediction",
        "materialize",
        "model approve",
        "model card",
        "model compare",
        "model list",
        "model promote",
        "model rollback",
        "model show",
        "new domain",
        "new feature",
        "new model",
        "new service",
        "new table",
        "push",
        "quality docs",
        "quarantine correct",
        "quarantine discard",
        "quarantine list",
        "quarantine reopen",
        "quarantine replay",
        "quarantine show",
        "rebuild",
        "repair",
        "rollout abort",
        "rollout history",
        "rollout pause",
        "rollout promote",
        "rollout resume",
        "rollout start",
        "rollout status",
        "rollout watch",
        "tables history",
        "tables show",
    ]


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_the_help_of_each_command_has_an_example_that_parses(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    example = re.search(r"Example: goldpath (.*?)\n\s*\n", result.output, re.DOTALL)  # it may fill several lines
    assert example, result.output
    assert example[1].split()[: len(command)] == command
    parsed = CliRunner().invoke(app, [*example[1].split(), "--help"])
    assert parsed.exit_code == 0


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys\nfrom pipelines.commands.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print('LOADED', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert process.stdout.rstrip().endswith("LOADED []")


def test_a_goldpath_error_is_printed_as_a_panel_without_a_stack_trace(tmp_path: Path) -> None:
    result = goldpath(tmp_path / "home", "tables", GOLDPATH_ENGINE="duckdb")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "SettingsError: environment variable GOLDPATH_ENGINE" in result.stderr
    assert re.search(r"observed +'duckdb'", result.stderr)
    for line in ("expected", "next"):
        assert re.search(rf"│ {line} +\w", result.stderr)
    assert "Traceback" not in result.stderr


def test_debug_prints_the_stack_trace(tmp_path: Path) -> None:
    result = goldpath(tmp_path / "home", "--debug", "tables", GOLDPATH_ENGINE="duckdb")
    assert result.returncode != 0
    assert "Traceback" in result.stderr
    assert "SettingsError" in result.stderr


def test_a_day_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    result = goldpath(tmp_path / "home", "demo", "--through", "2013-02-30")
    assert result.returncode == 1
    assert "2013-02-30" in result.stderr


def test_a_demo_that_no_domain_declares_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    result = goldpath(tmp_path / "home", "demo", "platform")
    assert result.returncode == 2
    assert "UsageError: demo platform" in result.stderr
    assert re.search(r"next +goldpath demo flights", result.stderr)


def test_the_help_of_the_demo_lists_the_demos_and_marks_the_default() -> None:
    result = CliRunner().invoke(app, ["demo", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert re.search(r"flights: .* \(default\)", result.output)
    assert re.search(r"packages: .* \(--language\)", result.output)


@pytest.mark.parametrize(
    ("arguments", "observed"),
    [
        (["weather", "--language"], "no demo of a language model"),
        (["--language", "--days", "60"], "--days"),
        (["packages", "--keep-serving"], "--keep-serving"),
    ],
)
def test_what_does_not_fit_the_demo_of_a_language_model_is_refused(arguments: list[str], observed: str) -> None:
    result = CliRunner().invoke(app, ["demo", *arguments])
    assert result.exit_code == 2
    assert observed in result.output


def test_the_lineage_of_an_unknown_prediction_is_an_error_that_names_it(tmp_path: Path) -> None:
    result = goldpath(tmp_path / "home", "lineage", "prediction", "no-such-id")
    assert result.returncode == 1
    assert "NotFoundError: prediction 'no-such-id'" in result.stderr


def test_a_command_creates_dagsters_instance_file_and_keeps_one_that_exists(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert goldpath(home, "tables").returncode == 0
    instance = home / "dagster" / "dagster.yaml"
    assert "telemetry:\n  enabled: false" in instance.read_text(encoding="utf-8")
    instance.write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    assert goldpath(home, "tables").returncode == 0
    assert instance.read_text(encoding="utf-8") == "telemetry: {enabled: false}\n"


@pytest.fixture
def home_with_costs(make_platform: Callable[[], Platform]) -> Path:
    """The home folder of a platform with two asset runs in its cost table."""
    platform = make_platform()
    started = datetime(2025, 1, 1, tzinfo=UTC)
    for asset, seconds, workload in (("silver/x/a", 10.0, "ingestion"), ("gold/x/b", 90.0, "analytics")):
        rows = focus.focus_rows(
            asset=asset,
            run_id=f"run-of-{asset}",
            status="SUCCEEDED",
            usage=metering.Usage(started, started, seconds=seconds, cpu_seconds=seconds, peak_memory_bytes=2**30),
            sheet=platform.prices,
            tags=TAGS | {"workload_class": workload},
            service="goldpath test",
        )
        platform.lakehouse.record(focus.COSTS, rows)
    return platform.settings.root


def test_cost_report_lists_the_cost_of_each_value_of_a_tag_largest_first(home_with_costs: Path) -> None:
    result = goldpath(home_with_costs, "cost", "report", "--by", "workload_class")
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["analytics", "ingestion"]
    report = json.loads(goldpath(home_with_costs, "cost", "report", "--by", "ResourceId", "--json").stdout)
    assert [(row["ResourceId"], row["runs"]) for row in report] == [("gold/x/b", 1), ("silver/x/a", 1)]
    assert report[0]["cost"] == pytest.approx(9 * report[1]["cost"])
    assert "no cost row has it" in goldpath(home_with_costs, "cost", "report", "--by", "colour").stderr


def test_tables_lists_declared_and_existing_tables_with_version_and_rows(home_with_costs: Path) -> None:
    printed = goldpath(home_with_costs, "tables").stdout
    assert re.search(r"^ops/platform/costs +1 +\d+", printed, re.MULTILINE)
    assert re.search(r"^silver/flights/airlines +- +- +1\.0\.0 +flight-data", printed, re.MULTILINE)
    entries = json.loads(goldpath(home_with_costs, "tables", "--json").stdout)
    by_name = {entry["table"]: entry for entry in entries}
    assert by_name["silver/flights/airlines"]["contract"] == "silver_airlines.yaml"
    assert by_name["silver/flights/airlines"]["rows"] is None
    assert by_name["ops/platform/costs"]["version"] == 1
    assert by_name["ops/platform/costs"]["rows"] > 2


def test_a_contract_of_others_is_imported_and_ours_is_exported(tmp_path: Path):
    example = PROJECT / "tests/pipelines/contracts/official_examples/full-example.odcs.yaml"
    folder = tmp_path / "contracts"
    imported = goldpath(
        tmp_path / "home", "contracts", "import", str(example), "--domain", "pay", "--folder", str(folder)
    )
    assert imported.returncode == 0, imported.stderr
    for part in ("pay/tbl: 3 columns; key rcvr_id", "- customProperties.tags: cost_centre", "- server my-postgres"):
        assert part in imported.stdout
    assert {path.name for path in folder.iterdir()} == {
        "bronze_tbl.yaml", "silver_tbl.yaml", "bronze_receivers.yaml", "silver_receivers.yaml",
    }  # fmt: skip
    again = goldpath(tmp_path / "home", "contracts", "import", str(example), "--domain", "pay", "--folder", str(folder))
    assert again.returncode == 1
    assert "an existing file is never overwritten" in again.stderr
    exported = goldpath(tmp_path / "home", "contracts", "export", "silver/flights/flights")
    assert exported.returncode == 0
    assert "to: airlines.carrier" in exported.stdout


def test_landing_list_names_files_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "home/landing/shop/t"
    for name in (b"[red].csv", b"[.]:cat:", b"caf\xe9\x1b[31m.csv"):
        (folder / os.fsdecode(name)).mkdir(parents=True)
        (folder / os.fsdecode(name) / "a.csv").write_bytes(b"a\n1\n")
    printed = goldpath(tmp_path / "home", "landing", "list")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert [line.split()[0] for line in printed.stdout.splitlines()[1:]] == [
        "shop/t/[.]:cat:", "shop/t/[red].csv", "shop/t/caf\\udce9\\x1b[31m.csv",
    ]  # fmt: skip
    entries = json.loads(goldpath(tmp_path / "home", "landing", "list", "--json").stdout)
    assert [entry["state"] for entry in entries] == ["misplaced"] * 3
