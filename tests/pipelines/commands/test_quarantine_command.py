"""`goldpath quarantine` in a process of its own, over an aircraft register with a few damaged lines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.flights import bronze, silver
from pipelines.governed.platform import Platform
from pipelines.tables import TableId
from tests import goldpath_process
from tests.conftest import Materialize

AIRCRAFT = {"tailnum": "N10156", "year": "2004", "manufacturer": "BOEING", "model": "737-800", "engines": "2"}
REGISTER = [AIRCRAFT, AIRCRAFT | {"tailnum": "N102UW", "year": "1804"}, AIRCRAFT | {"tailnum": "N103US", "engines": "two"},
            AIRCRAFT | {"tailnum": ""}]  # fmt: skip
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def platform(make_platform: Callable[[], Platform], materialize: Materialize) -> Platform:
    """Row 1 is clean; N102UW (row 2) is too old, N103US (row 3) has no number of engines, row 4 has no tail number."""
    platform = make_platform()
    content = "\n".join(map(json.dumps, REGISTER)).encode()
    platform.landing.deliver(
        domain="flights", source="planes", interval="2013-01-01", name="planes.jsonl", content=content
    )
    materialize(platform, [bronze.planes, silver.planes])
    return platform


@pytest.fixture(scope="module")
def goldpath(platform: Platform) -> Command:
    """Runs a command of `goldpath quarantine` on the platform's home folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        home = platform.settings.root
        return goldpath_process.goldpath(home, "quarantine", *arguments, GOLDPATH_PROFILE="test")

    return run


@pytest.fixture(scope="module")
def records(platform: Platform) -> dict[int, str]:
    """Record id by row number of the file."""
    house = platform.lakehouse
    rows = house.snapshot(TableId("bronze", "flights", "planes")).arrow().to_pylist()
    return {row["_source_row"]: row["_record_id"] for row in rows}


def output(process: subprocess.CompletedProcess[str]) -> str:
    """What a command printed that must succeed."""
    assert process.returncode == 0, process.stderr
    return process.stdout


def parsed(process: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(output(process))


def test_rows_are_listed_corrected_discarded_reopened_and_judged_again(
    goldpath: Command, platform: Platform, records: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(platform.settings.root / "dagster"))
    too_old, without_engines, without_tailnum = records[2], records[3], records[4]
    [entry] = parsed(goldpath("list", "--json"))
    assert entry == {"table": "flights/planes", "open": 3, "corrected": 0, "discarded": 0, "pending": 0}
    listing = output(goldpath("list", "flights/planes"))
    for text in ("3 open", "year_range", too_old, "planes.jsonl:2", "year_range (1804)"):
        assert text in listing

    values = ("--record", too_old, "--set", "year=2004")
    corrected = output(goldpath("correct", "flights/planes", *values, "--note", "a typo", "--by", "ann"))
    assert "goldpath quarantine replay flights/planes --pending" in corrected.replace("\n", " ")
    output(goldpath("discard", "flights/planes", without_tailnum, "--note", "no aircraft"))
    assert parsed(goldpath("list", "flights/planes", "--json"))["discarded"] == 1

    summary = parsed(goldpath("replay", "flights/planes", "--pending", "--note", "register corrected", "--json"))
    assert (summary["records"], summary["clean"], summary["quarantined"]) == (2, 1, 1)
    with dg.DagsterInstance.from_config(str(platform.settings.root / "dagster")) as instance:
        run = instance.get_run_by_id(summary["runs"][0])
        assert run is not None
        assert (run.status, run.tags["goldpath/note"]) == (dg.DagsterRunStatus.SUCCESS, "register corrected")

    record = parsed(goldpath("show", "flights/planes", too_old, "--json"))
    assert (record["place"], record["arrived"]["year"]) == ("clean", "1804")
    assert json.loads(record["source"]["line"])["tailnum"] == "N102UW"
    assert record["decisions"][0]["decided_by"] == "ann"
    details = output(goldpath("show", "flights/planes", without_tailnum))
    for text in ("discarded", "no aircraft", "tailnum_required", "planes.jsonl:4"):
        assert text in details

    file = tmp_path / "corrections.csv"
    file.write_text(f"_record_id,year,engines\n{without_engines},,2\n", encoding="utf-8")
    options = ("--file", str(file), "--note", "counted", "--replay", "--json")
    corrected_from_file = parsed(goldpath("correct", "flights/planes", *options))
    assert corrected_from_file["acts"][0]["values"] == {"engines": "2"}
    assert corrected_from_file["replay"]["clean"] == 1
    options = (without_tailnum, "--note", "look again", "--replay", "--json")
    assert parsed(goldpath("reopen", "flights/planes", *options))["replay"]["quarantined"] == 1
    assert parsed(goldpath("list", "--json"))[0]["open"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "flights/plane"], ["no contract declares", "flights/planes"]),
        (["list", "flights/planes", "--reason", "nothing"], ["no row has it", "tailnum_required"]),
        (["list", "flights/planes", "--state", "closed"], ["open, corrected, discarded"]),
        (["show", "flights/planes", "nobody"], ["goldpath quarantine list"]),
        (["discard", "flights/planes", "nobody", "--note", " "], ["nobody"]),
        (["correct", "flights/planes", "--set", "year=2004", "--note", "x"], ["--record with --set"]),
        (["correct", "flights/planes", "--file", "none.csv", "--note", "x"], ["FileNotFoundError"]),
        (["replay", "flights/planes", "--note", "x"], ["--pending"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_wrong_argument_is_an_error_that_lists_the_possible_ones(
    goldpath: Command, arguments: list[str], words: list[str]
) -> None:
    process = goldpath(*arguments)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    for word in words:
        assert word in process.stderr


def test_a_correction_of_an_unknown_column_is_an_error_that_lists_the_sources_columns(
    goldpath: Command, records: dict[int, str]
) -> None:
    process = goldpath("correct", "flights/planes", "--record", records[3], "--set", "age=9", "--note", "x")
    assert process.returncode == 1
    for word in ("age", "tailnum, year", "seats"):
        assert word in process.stderr


def test_a_decision_without_a_note_is_refused(goldpath: Command, records: dict[int, str]) -> None:
    process = goldpath("discard", "flights/planes", records[3])
    assert process.returncode == 2
    assert "--note" in process.stderr
