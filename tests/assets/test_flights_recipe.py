"""The recipes of the flights' model fit each other and the training set."""

from __future__ import annotations

from assets.flights.domain import contract
from assets.flights.recipe import arrival_delay, arrival_delay_fine_tune
from tests.instants import instants


def test_each_recipe_trains_before_its_gate_window() -> None:
    for recipe in (arrival_delay(), arrival_delay_fine_tune()):
        assert instants(recipe.train_window).end <= instants(recipe.gate_window).start


def test_fine_tuning_starts_where_the_base_models_training_ends() -> None:
    assert instants(arrival_delay_fine_tune().train_window).start >= instants(arrival_delay().train_window).end


def test_fine_tuning_reads_the_base_models_inputs() -> None:
    assert arrival_delay_fine_tune().inputs == arrival_delay().inputs


def test_the_training_set_has_every_column_of_the_recipe() -> None:
    recipe = arrival_delay()
    columns = {column.name for column in contract("gold/training_set").columns}
    assert {*recipe.inputs, recipe.label, recipe.row_key, recipe.time_column, recipe.known_at_column} <= columns
