"""Contenders are compared on rows that the champion was not trained on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.errors import ModelError
from pipelines.models.program import Window
from pipelines.models.registry import RegisteredModel
from pipelines.models.train import comparison_window

CHAMPION = RegisteredModel("toys.model", 3, "0123456789abcdef", "run", {})


def november(day: int) -> datetime:
    return datetime(2013, 11, day, tzinfo=UTC)


GATE_WINDOW = Window(november(10), november(20))


@pytest.mark.parametrize("trained_until", [november(1), november(10)])
def test_a_champion_trained_before_the_gate_window_leaves_it_whole(trained_until: datetime) -> None:
    assert comparison_window(GATE_WINDOW, CHAMPION, trained_until=trained_until) == GATE_WINDOW


def test_a_champion_trained_into_the_gate_window_shortens_it() -> None:
    window = comparison_window(GATE_WINDOW, CHAMPION, trained_until=november(15))
    assert window == Window(november(15), november(20))


@pytest.mark.parametrize("trained_until", [november(20), november(25)])
def test_a_champion_trained_to_the_end_of_the_gate_window_raises_an_error(trained_until: datetime) -> None:
    with pytest.raises(ModelError, match=r"toys\.model@3 .*rows that no contender was trained on"):
        comparison_window(GATE_WINDOW, CHAMPION, trained_until=trained_until)
