"""The platform's time is the setting, else that of a replay, else the wall clock; always in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipelines import clock
from pipelines.errors import SettingsError
from pipelines.settings import Settings

#: The instant that a replay has reached.
REACHED = datetime(2013, 11, 1, 4, tzinfo=UTC)


def test_without_setting_and_replay_it_is_the_wall_clock(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    assert before <= clock.now(Settings(home=tmp_path)) <= datetime.now(UTC)


def test_a_replay_moves_the_time_of_its_home_folder_only(tmp_path: Path) -> None:
    settings, other = Settings(home=tmp_path / "a"), Settings(home=tmp_path / "b")
    clock.move(settings, REACHED)
    assert clock.now(settings) == REACHED
    assert clock.now(other) > REACHED
    clock.move(settings, REACHED - timedelta(days=1))
    assert clock.now(settings) == REACHED - timedelta(days=1)


def test_the_setting_takes_precedence_over_a_replay(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, clock="2013-01-01T00:00:00-05:00")
    clock.move(settings, REACHED)
    assert clock.now(settings) == datetime(2013, 1, 1, 5, tzinfo=UTC)


def test_other_offsets_become_utc(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    clock.move(settings, datetime(2013, 11, 1, 0, tzinfo=timezone(timedelta(hours=-4))))
    assert clock.now(settings) == REACHED
    assert clock.now(settings).tzinfo is UTC


@pytest.mark.parametrize("text", ["2013-11-01T04:00:00", "yesterday", ""])
def test_a_setting_that_is_not_an_instant_with_offset_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="GOLDPATH_CLOCK.*with its offset"):
        clock.now(Settings(home=tmp_path, clock=text))


def test_a_clock_file_that_is_not_an_instant_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("soon", encoding="utf-8")
    with pytest.raises(SettingsError, match=f"{tmp_path}/clock: 'soon'"):
        clock.now(Settings(home=tmp_path))


@pytest.mark.parametrize(
    "text", ["2013-11-01T04:00:01+00:00", "9999-12-31T23:59:59Z", "2013-11-01", "2013-10-01T00:00:00", "yesterday", ""]
)
def test_what_is_known_at_an_instant_is_asked_with_offset_and_not_of_the_future(text: str) -> None:
    with pytest.raises(SettingsError, match="--as-of"):
        clock.known_at(text, now=REACHED, of="--as-of")


def test_an_instant_up_to_now_may_be_asked_for() -> None:
    assert clock.known_at("2013-11-01T00:00:00-04:00", now=REACHED, of="--as-of") == REACHED


def test_a_replay_clock_is_said_with_the_way_back_to_the_wall_clock(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert clock.replay(settings) is None
    clock.move(settings, REACHED)
    assert clock.replay(settings) == (
        f"the replay clock shows 2013-11-01T04:00:00+00:00 ({tmp_path / 'clock'}) for all domains; remove that file to "
        "go by the wall clock"
    )
    assert "unset it" in str(clock.replay(Settings(home=tmp_path, clock="2013-01-01T00:00:00Z")))
