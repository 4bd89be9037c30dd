"""`goldpath materialize`: what it refuses, how it shows a failure, and its exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import dagster as dg
import pytest
import typer

from pipelines.commands import invocation
from pipelines.commands.materialize import Mode, _is_failed_check, _known_keys, _range, _trained_in, run_shown
from pipelines.errors import UsageError
from pipelines.settings import PROJECT
from tests.goldpath_process import environment, goldpath

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-08")


@dg.asset(key=["silver", "toys", "blocks"], partitions_def=DAYS)
def blocks() -> None: ...


@dg.asset(key=["training", "toys", "towers"])
def towers() -> None: ...


DAILY, WHOLE = {"silver/toys/blocks": blocks}, {"training/toys/towers": towers}


@pytest.mark.parametrize("name", ["blocks", "silver/toys/block", "", "silver/toys/blocks/x", "../silver", "silver"])
def test_an_unknown_asset_is_refused_with_names_that_exist(name: str) -> None:
    with pytest.raises(UsageError, match="an asset key such as silver/toys/blocks") as refused:
        _known_keys([name], [*blocks.keys, *towers.keys])
    assert refused.value.object == f"asset {name}"


def test_any_asset_can_be_named() -> None:
    assert _known_keys(["training/toys/towers"], [*blocks.keys, *towers.keys]) == [towers.key]


def test_a_mode_is_the_configuration_of_the_trainings_and_refused_without_one() -> None:
    assert _trained_in("search", [*blocks.keys, *towers.keys]) == {
        "training__toys__towers": {"config": {"mode": "SEARCH"}}
    }
    with pytest.raises(UsageError, match="--mode fine_tune: none of these assets trains a model"):
        _trained_in("fine_tune", blocks.keys)


def test_the_modes_are_those_of_a_training() -> None:
    from pipelines.models.assets import TrainMode

    assert [mode.value for mode in TrainMode] == list(get_args(Mode))


@pytest.mark.parametrize(
    ("assets", "first", "last", "words"),
    [
        (DAILY, None, None, "add --from 2013-01-01 --to 2013-01-07"),
        (DAILY, None, "2013-01-02", "add --from 2013-01-01"),
        (DAILY, "2013-01-08", None, "days from 2013-01-01 to 2013-01-07"),
        (DAILY, "2012-12-31", "2013-01-02", "days from 2013-01-01 to 2013-01-07"),
        (DAILY, "2013-13-01", None, "days from 2013-01-01 to 2013-01-07"),
        (DAILY, "2013-1-1", None, "days from 2013-01-01 to 2013-01-07"),
        (DAILY, "2013-01-05", "2013-01-02", "before --from 2013-01-05"),
        (WHOLE, "2013-01-05", None, "none of these assets is by day"),
    ],
)
def test_days_that_do_not_fit_the_assets_are_refused(
    assets: dict[str, dg.AssetsDefinition], first: str | None, last: str | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        _range(assets, first, last)


def test_a_run_covers_the_days_from_the_first_to_the_last() -> None:
    tags = _range(DAILY | WHOLE, "2013-01-02", None)
    assert set(tags.values()) == {"2013-01-02"}
    assert sorted(_range(DAILY, "2013-01-02", "2013-01-04").values()) == ["2013-01-02", "2013-01-04"]
    assert _range(WHOLE, None, None) == {}


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "Interrupted"),
        (ZeroDivisionError("division by zero"), 1, "test_materialize.py, line"),
        (UsageError(object="--from", observed="it is missing", expected="a day", next_step="add it"), 2, "add it"),
    ],
    ids=["Ctrl-C", "another error", "usage"],
)
def test_an_error_ends_a_command_with_words_and_its_code(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, invocation.errors_shown():
        raise error
    shown = capsys.readouterr()
    assert ended.value.exit_code == code
    assert words in " ".join(shown.err.replace("│", " ").split())
    assert shown.out == ""
    assert "Traceback" not in shown.err


def test_the_selected_assets_are_the_target_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))  # which the instance's configuration names
    assert goldpath(home, "materialize", "bronze/flights/airlines").returncode == 0
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        [run] = instance.get_runs()
    assert run.asset_selection == {dg.AssetKey(["bronze", "flights", "airlines"])}


def test_a_command_whose_reader_has_ended_ends_without_words(tmp_path: Path) -> None:
    piped = f"{sys.executable} -m pipelines landing list --json | true"
    env = environment(tmp_path / "home")
    shown = subprocess.run(piped, shell=True, capture_output=True, text=True, check=False, env=env, cwd=PROJECT)
    assert (shown.stdout, shown.stderr) == ("", "")


def test_a_failed_rule_is_shown_on_one_screen_without_a_stack(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert goldpath(home, "materialize", "bronze/flights/airports").returncode == 0
    failed = goldpath(home, "materialize", "silver/flights/airports", "gold/flights/origin_delays")
    assert failed.returncode == 1
    assert "FAIL silver/flights/airports: has_airports saw 0.0" in failed.stdout
    assert "VerdictError: table silver/flights/airports" in failed.stderr
    assert "goldpath materialize silver/flights/airports" in failed.stderr
    assert len((failed.stdout + failed.stderr).splitlines()) <= 40
    assert "Traceback" not in failed.stdout + failed.stderr
    assert "Stack Trace" not in failed.stdout + failed.stderr


@pytest.mark.parametrize(("raises", "told"), [(False, True), (True, False)])
def test_a_blocking_check_that_failed_is_told_apart_from_an_asset_that_failed(raises: bool, told: bool) -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="tower", blocking=True)])
    def tower() -> dg.MaterializeResult:
        if raises:
            raise ValueError("it fell")
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=False, check_name="whole")])

    result = dg.materialize([tower], raise_on_error=False)
    assert [_is_failed_check(event.step_failure_data) for event in result.get_step_failure_events()] == [told]


def test_what_an_asset_says_on_the_way_is_printed_beside_its_checks(capsys: pytest.CaptureFixture[str]) -> None:
    @dg.asset(key=["training", "toys", "towers"])
    def training(context) -> None:  # type: ignore[no-untyped-def]
        context.log.debug("not this")
        context.log.warning("the replay clock shows 2013, as the command said already")
        context.log.info("epoch 1: loss 0.5\nand more")

    job = dg.Definitions([training]).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_shown(job, instance, training.keys, {})
    assert capsys.readouterr().err.splitlines() == ["training/toys/towers: epoch 1: loss 0.5"]
