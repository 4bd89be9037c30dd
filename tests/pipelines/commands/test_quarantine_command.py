"""`goldpath quarantine` as people type it, over the aircraft register with a few damaged lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.flights import bronze, silver
from pipelines.commands.examination import PROJECT
from pipelines.governed.platform import Platform
from pipelines.tables import TableId
from tests.conftest import Materialize

AIRCRAFT = {"tailnum": "N10156", "year": "2004", "manufacturer": "BOEING", "model": "737-800", "engines": "2"}
REGISTER = [AIRCRAFT, AIRCRAFT | {"tailnum": "N102UW", "year": "1804"}, AIRCRAFT | {"tailnum": "N103US", "engines": "two"},
            AIRCRAFT | {"tailnum": ""}]  # fmt: skip
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def platform(make_platform: Callable[[], Platform], materialize: Materialize) -> Platform:
    """One aircraft is clean; N102UW (row 2) is too old, N103US (row 3) has no number of engines, row 4 no tail number."""
    made = make_platform()
    content = "\n".join(map(json.dumps, REGISTER)).encode()
    made.landing.deliver(domain="flights", source="planes", interval="2013-01-01", name="planes.jsonl", content=content)
    materialize(made, [bronze.planes, silver.planes])
    return made


@pytest.fixture(scope="module")
def goldpath(platform: Platform) -> Command:
    """The command in a process of its own, on the platform's home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOLDPATH_", "RAY_", "DAGSTER_"))}
    kept |= {"PYTHONPATH": str(PROJECT), "GOLDPATH_HOME": str(platform.settings.root), "NO_COLOR": "1"}
    kept |= {"COLUMNS": "160", "GOLDPATH_PROFILE": "test"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines", "quarantine", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=kept, cwd=PROJECT)

    return run


@pytest.fixture(scope="module")
def records(platform: Platform) -> dict[int, str]:
    """Record id by row of the file."""
    house = platform.lakehouse
    rows = house.snapshot(TableId("bronze", "flights", "planes")).arrow().to_pylist()
    return {row["_source_row"]: row["_record_id"] for row in rows}


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rows_are_corrected_discarded_and_judged_again(
    goldpath: Command, platform: Platform, records: dict[int, str], tmp_path: Path
) -> None:
    old, unnumbered, nameless = records[2], records[3], records[4]
    [line] = answer(goldpath("list", "--json"))
    assert line == {"table": "flights/planes", "open": 3, "corrected": 0, "discarded": 0, "pending": 0}
    shown = goldpath("list", "flights/planes")
    assert shown.returncode == 0, shown.stderr
    for word in ("3 open", "year_range", old, "planes.jsonl:2", "year_range (1804)"):
        assert word in shown.stdout

    done = goldpath(
        "correct", "flights/planes", "--record", old, "--set", "year=2004", "--note", "a typo", "--by", "ann"
    )
    assert done.returncode == 0, done.stderr
    assert "goldpath quarantine replay flights/planes --pending" in done.stdout.replace("\n", " ")
    goldpath("discard", "flights/planes", nameless, "--note", "no aircraft")
    assert answer(goldpath("list", "flights/planes", "--json"))["discarded"] == 1

    replayed = answer(goldpath("replay", "flights/planes", "--pending", "--note", "register mended", "--json"))
    assert (replayed["records"], replayed["clean"], replayed["quarantined"]) == (2, 1, 1)
    with dg.DagsterInstance.from_config(str(platform.settings.root / "dagster")) as instance:
        run = instance.get_run_by_id(replayed["runs"][0])
        assert run is not None
        assert (run.status, run.tags["goldpath/note"]) == (dg.DagsterRunStatus.SUCCESS, "register mended")

    found = answer(goldpath("show", "flights/planes", old, "--json"))
    assert (found["place"], found["arrived"]["year"], json.loads(found["source"]["line"])["tailnum"]) == (
        "clean", "1804", "N102UW",
    )  # fmt: skip
    assert found["decisions"][0]["decided_by"] == "ann"
    told = goldpath("show", "flights/planes", nameless)
    assert told.returncode == 0, told.stderr
    for word in ("discarded", "no aircraft", "tailnum_required", "planes.jsonl:4"):
        assert word in told.stdout

    fixes = tmp_path / "fixes.csv"
    fixes.write_text(f"_record_id,year,engines\n{unnumbered},,2\n", encoding="utf-8")
    said = answer(
        goldpath("correct", "flights/planes", "--file", str(fixes), "--note", "counted", "--replay", "--json")
    )
    assert (said["acts"][0]["values"], said["replay"]["clean"]) == ({"engines": "2"}, 1)
    again = answer(goldpath("reopen", "flights/planes", nameless, "--note", "look again", "--replay", "--json"))
    assert again["replay"]["quarantined"] == 1
    assert answer(goldpath("list", "--json"))[0]["open"] == 1


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
def test_what_was_asked_wrongly_is_answered_with_what_there_is(
    goldpath: Command, arguments: list[str], words: list[str]
) -> None:
    done = goldpath(*arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_column_that_the_source_does_not_have_is_answered_with_those_it_has(
    goldpath: Command, records: dict[int, str]
) -> None:
    done = goldpath("correct", "flights/planes", "--record", records[3], "--set", "age=9", "--note", "x")
    assert done.returncode == 1
    for word in ("age", "tailnum, year", "seats"):
        assert word in done.stderr


def test_without_a_note_nothing_is_decided(goldpath: Command, records: dict[int, str]) -> None:
    done = goldpath("discard", "flights/planes", records[3])
    assert done.returncode == 2
    assert "--note" in done.stderr
