"""Windows, as platform and training programs exchange them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.models.program import RecipeError, Window

DAY = datetime(2013, 1, 1, tzinfo=UTC)


def test_a_window_without_time_zone_raises_an_error() -> None:
    with pytest.raises(RecipeError, match="time zone"):
        Window(datetime(2013, 1, 1), datetime(2013, 2, 1, tzinfo=UTC))  # noqa: DTZ001


def test_a_window_that_ends_at_its_start_raises_an_error() -> None:
    with pytest.raises(RecipeError, match="the start before the end"):
        Window(DAY, DAY)


def test_the_text_of_a_window_excludes_its_end() -> None:
    window = Window(DAY, datetime(2013, 2, 1, tzinfo=UTC))
    assert str(window) == "[2013-01-01T00:00:00+00:00, 2013-02-01T00:00:00+00:00)"
