"""A log becomes deliveries of its new complete lines: nothing is lost, nothing lands twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.landing import Landing
from pipelines.log_delivery import deliver_log


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def append(log: Path, text: str, day: str = "2013-11-01") -> None:
    with (log / f"{day}.jsonl").open("a", encoding="utf-8", newline="") as handle:
        handle.write(text)


def deliver(landing: Landing, log: Path) -> int:
    return deliver_log(landing, log, domain="toys", source="answers")


def landed(landing: Landing) -> dict[str, str]:
    return {d.uri: landing.path(d).read_text(encoding="utf-8") for d in landing.deliveries("toys", "answers")}


def test_each_delivery_holds_what_is_new(landing: Landing, log: Path) -> None:
    append(log, "1\n2\n")
    assert deliver(landing, log) == 2
    append(log, "3\n")
    assert deliver(landing, log) == 1
    assert landed(landing) == {
        "toys/answers/dt=2013-11-01/answers_00000000.jsonl": "1\n2\n",
        "toys/answers/dt=2013-11-01/answers_00000002.jsonl": "3\n",
    }


def test_nothing_new_lands_nothing(landing: Landing, log: Path) -> None:
    assert deliver(landing, log) == 0
    append(log, "1\n")
    deliver(landing, log)
    assert deliver(landing, log) == 0
    assert len(landed(landing)) == 1


def test_a_line_that_is_still_being_written_waits(landing: Landing, log: Path) -> None:
    append(log, '1\n{"half": ')
    assert deliver(landing, log) == 1
    append(log, "true}\n")
    assert deliver(landing, log) == 1
    assert list(landed(landing).values()) == ["1\n", '{"half": true}\n']


def test_each_day_is_a_delivery_of_its_own(landing: Landing, log: Path) -> None:
    append(log, "1\n", "2013-11-01")
    append(log, "2\n", "2013-11-02")
    assert deliver(landing, log) == 2
    assert list(landed(landing)) == [
        "toys/answers/dt=2013-11-01/answers_00000000.jsonl", "toys/answers/dt=2013-11-02/answers_00000000.jsonl",
    ]  # fmt: skip


def test_a_run_that_was_killed_between_two_days_is_continued(landing: Landing, log: Path) -> None:
    append(log, "1\n", "2013-11-01")
    deliver(landing, log)
    append(log, "2\n", "2013-11-02")
    append(log, "3\n", "2013-11-01")
    assert deliver(landing, log) == 2
    assert sorted("".join(landed(landing).values())) == ["\n", "\n", "\n", "1", "2", "3"]


def test_equal_lines_are_all_delivered(landing: Landing, log: Path) -> None:
    append(log, "same\nsame\n")
    deliver(landing, log)
    append(log, "same\n")
    assert deliver(landing, log) == 1
    assert "".join(landed(landing).values()) == "same\n" * 3


def test_a_carriage_return_within_a_line_ends_none(landing: Landing, log: Path) -> None:
    append(log, "a\rb\n\r\n")
    assert deliver(landing, log) == 2
    append(log, "c\n")
    assert deliver(landing, log) == 1


def test_no_log_is_no_delivery(landing: Landing, log: Path) -> None:
    assert deliver(landing, log / "nowhere") == 0
