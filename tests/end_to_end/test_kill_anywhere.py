"""kill -9 between any two steps of ingestion, and the next run gives the same tables: nothing lost, nothing twice."""

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

from tests.end_to_end.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parent / "killed_steps.py"
ROUNDS = 4
#: In each home a run is killed in these rounds; after the second of them more arrives before the next run.
KILLED = (0, 1, 3)
#: Calls of these are killed both before and after; of the others one or the other.
CRUCIAL = ("commit ", "Ledger.plan", "put ", "record quarantine_decisions")
SEED = 2013
Kill = tuple[str, int, str]
Order = Callable[..., int]


@contextmanager
def program(folder: Path) -> Iterator[Order]:
    """A child that works on orders; each in a process of its own, whose exit code it answers."""
    with (folder / "program.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
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


def record(home: Path, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / f"round_{number}.json").read_text(encoding="utf-8"))
    return found


def chosen(steps: Sequence[Sequence[str]]) -> list[dict[int, Kill]]:
    """Where to kill in each home: every kind of step, before or after one of its calls."""
    pick = random.Random(SEED)
    homes: list[dict[int, Kill]] = []
    for kind in sorted({kind for number in KILLED for kind in steps[number]}):
        rounds = [number for number in KILLED if kind in steps[number]]
        both = ["before", "after"]
        for when in both if kind.startswith(CRUCIAL) else [pick.choice(both)]:
            number = min(rounds, key=lambda n: (sum(n in home for home in homes), pick.random()))
            # A round after two that were taken at once has fewer calls than the undisturbed one.
            call = 0 if number == KILLED[-1] else pick.randrange(steps[number].count(kind))
            free = next((home for home in homes if number not in home), None)
            if free is None:
                homes.append(free := {})
            free[number] = (kind, call, when)
    return homes


def killed_again_and_again(order: Order, home: Path, kills: dict[int, Kill]) -> list[str]:
    """Kills runs where they are told, and finishes every round after that; what was not as expected."""
    wrong = []
    steps: list[dict[str, Any]] = []
    for rounds in ([0], [1, 2], [3]):
        if (kill := kills.get(rounds[0])) is not None:
            code = order(home, *steps, {"rounds": rounds[:1], "kill": kill})
            wrong += [] if code == -signal.SIGKILL else [f"{home.name}: {kill} ended with {code}"]
            steps = []
        steps.append({"rounds": rounds})
    code = order(home, *steps)
    return wrong if code == 0 else [*wrong, f"{home.name}: the run after {kills} ended with {code}"]


def test_a_run_that_is_killed_between_any_two_steps_is_continued_by_the_next(tmp_path: Path) -> None:
    with program(tmp_path) as order:
        undisturbed = tmp_path / "undisturbed"
        assert order(undisturbed, *({"rounds": [number]} for number in range(ROUNDS))) == 0, log(tmp_path)
    expected = [record(undisturbed, number) for number in range(ROUNDS)]
    homes = chosen([found["steps"] for found in expected])
    assert sum(map(len, homes)) > 25

    def every_second(first: int) -> list[str]:
        with program(tmp_path) as order:
            places = range(first, len(homes), 2)
            return [w for n in places for w in killed_again_and_again(order, tmp_path / f"home_{n}", homes[n])]

    with ThreadPoolExecutor(2) as pool:
        assert [words for wrong in pool.map(every_second, range(2)) for words in wrong] == [], log(tmp_path)
    for n, kills in enumerate(homes):
        for number in (0, 2, 3):
            found, wanted = record(tmp_path / f"home_{n}", number), expected[number]
            assert found["litter"] == []
            for table, (rows, whole, values) in found["tables"].items():
                # Where two rounds were taken at once, a source may have given the same rows in other files.
                same = (rows, values) == (wanted["tables"][table][0], wanted["tables"][table][2])
                assert same, f"{table} after round {number}, killed at {kills}: {rows} rows"
                if number == 0 or "parts" in table:
                    assert whole == wanted["tables"][table][1], f"{table} after round {number}, killed at {kills}"
            rows_of = {table: rows for table, (rows, *_) in found["tables"].items()}
            assert rows_of["bronze/toys/parts"] == rows_of["silver/toys/parts"] + rows_of["quarantine/toys/parts"]


def log(folder: Path) -> str:
    return (folder / "program.log").read_text(encoding="utf-8")[-6_000:]
