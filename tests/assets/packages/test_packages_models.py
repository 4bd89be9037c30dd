"""The recipes of the packages' models fit their training sets: folds and columns."""

from __future__ import annotations

from assets.packages.domain import contract
from assets.packages.model import SUMMARIES, TOPIC
from assets.packages.recipe import summaries, topic
from pipelines.models.program import Fold


def test_the_folds_of_each_recipe_are_those_of_its_training_set_and_apart() -> None:
    for spec, recipe in ((SUMMARIES, summaries()), (TOPIC, topic())):
        train, gate = recipe.train_window, recipe.gate_window
        assert isinstance(train, Fold)
        assert isinstance(gate, Fold)
        assert not train.overlaps(gate)
        [rule] = [rule for rule in spec.training_set.row_rules if rule.name == "fold_set"]
        assert {*train.values, *train.holdout, *gate.values} <= set(rule.argument)


def test_no_training_set_of_the_packages_is_less_protected_than_what_it_is_made_of() -> None:
    bronze = contract("bronze/metadata").tags["data_class"]
    assert {spec.training_set.tags["data_class"] for spec in (SUMMARIES, TOPIC)} == {bronze} == {"internal"}
