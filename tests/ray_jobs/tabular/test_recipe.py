"""A recipe is complete, and refuses to contradict itself."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ray_jobs.core.errors import RecipeError
from ray_jobs.tabular.recipe import Recipe, Window, arrival_delay, arrival_delay_fine_tune, with_windows


def test_the_recipes_train_before_they_are_measured() -> None:
    for recipe in (arrival_delay(), arrival_delay_fine_tune()):
        assert recipe.train_window.end <= recipe.gate_window.start


def test_fine_tuning_starts_where_the_base_models_training_ended() -> None:
    assert arrival_delay_fine_tune().train_window.start >= arrival_delay().train_window.end


def test_fine_tuning_reads_the_same_inputs() -> None:
    assert arrival_delay_fine_tune().inputs == arrival_delay().inputs


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_failures", 0),
        ("epochs", 0),
        ("num_workers", 0),
        ("batch_size", 1),
        ("holdout_every_days", 1),
        ("checkpoint_interval_epochs", 0),
        ("numeric", ("carrier",)),
        ("gate_window", Window(datetime(2013, 9, 1, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC))),
    ],
)
def test_a_contradiction_names_the_field(field: str, value: object) -> None:
    with pytest.raises(RecipeError, match=field):
        _changed(field, value)


def _changed(field: str, value: object) -> Recipe:
    changes: dict = {field: value}
    return replace(arrival_delay(), **changes)


def test_a_window_without_time_zone_is_refused() -> None:
    with pytest.raises(RecipeError, match="time zone"):
        Window(datetime(2013, 1, 1), datetime(2013, 2, 1, tzinfo=UTC))  # noqa: DTZ001


def test_the_fingerprint_changes_with_any_field_and_only_then() -> None:
    assert arrival_delay().fingerprint == arrival_delay().fingerprint
    assert _changed("dropout", 0.21).fingerprint != arrival_delay().fingerprint


def test_other_windows_keep_the_rest() -> None:
    recipe = with_windows(arrival_delay(), "", "2013-06-01T00:00:00+00:00", "2013-07-01T00:00:00+00:00")
    assert recipe.train_window.start == arrival_delay().train_window.start
    assert recipe.gate_window == Window(datetime(2013, 6, 1, tzinfo=UTC), datetime(2013, 7, 1, tzinfo=UTC))
    assert recipe.inputs == arrival_delay().inputs


def test_a_refusal_survives_the_way_between_processes() -> None:
    with pytest.raises(RecipeError) as caught:
        _changed("epochs", 0)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
