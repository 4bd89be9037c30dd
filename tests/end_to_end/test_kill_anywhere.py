"""A run that is killed between any two steps of ingestion is continued by the next run: the tables are the same."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs import FOLDER, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROUNDS = 4
#: The rounds in which runs are killed. After a kill in round 1, round 2 arrives before the next run, which takes both.
KILLED = (0, 1, 3)
#: Processes are killed both before and after calls of these kinds, and either before or after calls of other kinds.
CRUCIAL = ("commit ", "Ledger.plan", "put ", "record quarantine_decisions")
SEED = 2013
#: The kind of a call, its number among the calls of that kind, and `before` or `after`.
CallPoint = tuple[str, int, str]
Order = Callable[..., int]


@contextmanager
def program(folder: Path) -> Iterator[Order]:
    """A child that works on orders, each in a process of its own; yields a function that returns its exit code."""
    with (folder / "program.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, str(FOLDER / "killed_steps.py")],
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def order(home: Path, *steps: dict[str, Any]) -> int:
        assert child.stdin is not None
        assert child.stdout is not None
        print(json.dumps({"home": str(home), "steps": steps}), file=child.stdin, flush=True)
        return int(child.stdout.readline())

    try:
        yield order
    finally:
        child.communicate(timeout=60)


def read_record(home: Path, number: int) -> dict[str, Any]:
    """What killed_steps.py recorded after the last run of a round."""
    record: dict[str, Any] = json.loads((home / f"round_{number}.json").read_text(encoding="utf-8"))
    return record


def choose_call_points(calls: Sequence[Sequence[str]]) -> list[dict[int, CallPoint]]:
    """For each home folder the call point of each round at which its run is killed; every kind of call is covered.

    Args:
        calls: The kinds of the calls of an undisturbed run, for each round.
    """
    generator = random.Random(SEED)
    homes: list[dict[int, CallPoint]] = []
    for kind in sorted({kind for number in KILLED for kind in calls[number]}):
        rounds = [number for number in KILLED if kind in calls[number]]
        both = ["before", "after"]
        for when in both if kind.startswith(CRUCIAL) else [generator.choice(both)]:
            number = min(rounds, key=lambda n: (sum(n in home for home in homes), generator.random()))
            # After a run that took two rounds, the next run has fewer calls than an undisturbed one.
            call = 0 if number == KILLED[-1] else generator.randrange(calls[number].count(kind))
            home = next((home for home in homes if number not in home), None)
            if home is None:
                homes.append(home := {})
            home[number] = (kind, call, when)
    return homes


def run_with_kills(order: Order, home: Path, points: dict[int, CallPoint]) -> list[str]:
    """Runs all rounds in a home folder, with a kill at each call point and a run after it; returns what went wrong."""
    problems = []
    steps: list[dict[str, Any]] = []
    for rounds in ([0], [1, 2], [3]):
        if (point := points.get(rounds[0])) is not None:
            code = order(home, *steps, {"rounds": rounds[:1], "kill": point})
            problems += [] if code == -signal.SIGKILL else [f"{home.name}: {point} ended with {code}"]
            steps = []
        steps.append({"rounds": rounds})
    code = order(home, *steps)
    return problems if code == 0 else [*problems, f"{home.name}: the run after {points} ended with {code}"]


def require_same_tables(record: dict[str, Any], expected: dict[str, Any], number: int, place: str) -> None:
    """Compares the record of a disturbed home folder after a round with that of the undisturbed one."""
    assert record["leftovers"] == [], place
    for table, (rows, digest, values_digest) in record["tables"].items():
        expected_rows, expected_digest, expected_values_digest = expected["tables"][table]
        assert (rows, values_digest) == (expected_rows, expected_values_digest), f"{table} {place}: {rows} rows"
        # For two rounds at once, the database's source divides the same rows into other files.
        if number == 0 or "parts" in table:
            assert digest == expected_digest, f"{table} {place}"
    rows_of = {table: rows for table, (rows, *_) in record["tables"].items()}
    assert rows_of["bronze/toys/parts"] == rows_of["silver/toys/parts"] + rows_of["quarantine/toys/parts"], place


def test_after_a_kill_between_any_two_steps_the_next_run_gives_the_same_tables(tmp_path: Path) -> None:
    with program(tmp_path) as order:
        undisturbed = tmp_path / "undisturbed"
        assert order(undisturbed, *({"rounds": [number]} for number in range(ROUNDS))) == 0, log(tmp_path)
    expected = [read_record(undisturbed, number) for number in range(ROUNDS)]
    homes = choose_call_points([record["calls"] for record in expected])
    assert sum(map(len, homes)) > 25

    def run_every_second_home(first: int) -> list[str]:
        with program(tmp_path) as order:
            numbers = range(first, len(homes), 2)
            return [p for n in numbers for p in run_with_kills(order, tmp_path / f"home_{n}", homes[n])]

    with ThreadPoolExecutor(2) as pool:
        problems = [problem for half in pool.map(run_every_second_home, range(2)) for problem in half]
    assert problems == [], log(tmp_path)
    for n, points in enumerate(homes):
        for number in (0, 2, 3):
            place = f"after round {number}, killed at {points}"
            require_same_tables(read_record(tmp_path / f"home_{n}", number), expected[number], number, place)


def log(folder: Path) -> str:
    return (folder / "program.log").read_text(encoding="utf-8")[-6_000:]
