"""A model's declaration that contradicts its program, recipes, training set or features does not load."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest

from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.errors import DefinitionError, SettingsError
from pipelines.features.declaration import FeatureService, feature_view
from pipelines.models import rollout_check
from pipelines.models.answers import Task
from pipelines.models.assets import TrainConfig, TrainMode, chosen_recipe, model_assets
from pipelines.models.judgement import Gate, Slice
from pipelines.models.program import Holds, Program, Window
from pipelines.models.question import Column, Question
from pipelines.models.rollout_plan import Guard, Outcomes, Rollout, Stage
from pipelines.models.search import Choice, LogUniform, RandInt, Search, Uniform
from pipelines.models.service import Runtime, ServiceSpec, find
from pipelines.models.spec import ModelSpec
from ray_jobs.tabular.recipe import Recipe
from tests.pipelines import toy_contracts as toys

INSTANT: Any = {"logicalType": "timestamp"}
KEY: Any = {"primaryKey": True, "primaryKeyPosition": 1}
COLUMNS: Mapping[str, Holds] = {
    "brick": "any", "asked_at": "instant", "known_at": "instant", "heights__mean": "number", "colour": "text",
    "fell": "number",
}  # fmt: skip


JANUARY = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
FEBRUARY = Window(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))


@dataclass(frozen=True)
class ToyRecipe:
    """The part of a recipe that the platform reads."""

    task: Task = "binary"
    columns: Mapping[str, Holds] = field(default_factory=lambda: COLUMNS)
    train_window: Window = JANUARY
    gate_window: Window = FEBRUARY
    inputs: tuple[str, ...] = ()
    label: str = "label"
    row_key: str = "key"
    quality_target: float | None = None


#: One of the table's recipes, with values to search for.
WIDE_AND_DEEP = Recipe(
    model_name="falls", task="binary", label="fell", row_key="brick", time_column="asked_at", known_at_column="known_at",
    numeric=("heights__mean",), train_window=JANUARY, gate_window=FEBRUARY, num_workers=2,
)  # fmt: skip


def falls() -> ToyRecipe:
    return ToyRecipe()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """Whether a brick falls, from the heights of its tower."""
    folder = tmp_path_factory.mktemp("contracts")
    training_set = toys.contract(
        folder, "gold/toys/bricks",
        [toys.text("brick", **KEY), toys.text("asked_at", **INSTANT), toys.text("known_at", **INSTANT),
         toys.number("heights__mean"), toys.text("colour"), toys.integer("fell")],
    )  # fmt: skip
    instant = toys.text("event_timestamp", **INSTANT, primaryKey=True, primaryKeyPosition=2)
    heights = toys.contract(
        folder, "gold/toys/heights", [toys.text("tower", **KEY), instant, toys.number("mean"), toys.number("spread")]
    )
    costs = CostTags("cc-7", "toys", "blocks", "building")
    return ModelSpec(
        domain=Domain("toys", "toy-data", costs, Contracts()),
        name="falls",
        question="Will this brick fall?",
        task="binary",
        program=Program("nowhere:challenge", "nowhere:load", tasks=("binary", "regression"), kinds=("ray",)),
        recipes={"from_scratch": falls},
        training_set=training_set,
        features=FeatureService("falls_v1", "toys", (feature_view(heights),), "What is known.", "toy-data"),
        limits=("Only toys.",),
    )


def test_the_assets_of_a_model_are_keyed_by_domain_and_name_and_say_its_question(spec: ModelSpec) -> None:
    training, registered = model_assets(spec)
    assert training.key == dg.AssetKey(["training", "toys", "falls"])
    assert training.dependency_keys == {dg.AssetKey(["gold", "toys", "bricks"])}
    assert registered.key == dg.AssetKey(["models", "toys", "falls"])
    assert registered.dependency_keys == {training.key}
    for asset in (training, registered):
        assert str(asset.descriptions_by_key[asset.key]).startswith("Will this brick fall?")
        assert asset.tags_by_key[asset.key]["workload_class"] == "training"
    (check,) = registered.check_specs
    assert str(check.description).endswith("by auc and log_loss")


def test_the_gate_of_a_declaration_is_that_of_its_check(spec: ModelSpec) -> None:
    (check,) = model_assets(replace(spec, gate=Gate(("brier",))))[1].check_specs
    assert str(check.description).endswith("by brier")


def sliced(**settings: Any) -> Gate:
    return Gate(slices=(Slice("colour", **settings),))


def without(column: str) -> Any:
    return {"from_scratch": lambda: ToyRecipe(columns={**COLUMNS, column: "number"})}


def canary(*guards: Guard) -> Rollout:
    return Rollout("half", (Stage("half", 0.5),), guards=guards)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rollout": canary(Guard("disagreement", 0.1))}, ["its rollout has a guard of disagreement, and no mirrored"]),
        ({"name": "falls soon"}, ["its name is 'falls soon'", "a lower-case identifier"]),
        ({"task": "multiclass"}, ["its task is multiclass", "nowhere:challenge", "binary, regression"]),
        ({"risk": "hihg"}, ["its risk is 'hihg'", "minimal, limited, high", "the declaration of falls"]),
        ({"task": "text"}, ["its task is text", "a task that the program trains"]),
        ({"gate": Gate(("mae",))}, ["gate metrics mae", "auc, average_precision, log_loss, brier, ece"]),
        ({"gate": Gate(confidence=95)}, ["its gate has confidence 95", "0.5 or more, and less than 1"]),
        ({"gate": Gate(together=("day", "tower"))}, ["its gate has columns day", ".yaml"]),
        ({"gate": Gate(apart=("owner",))}, ["its gate has columns owner", "correct the gate in the declaration of falls"]),
        ({"gate": Gate(allowance={"auc": 0.01})}, ["its gate has an allowance, and the model no rollout"]),
        ({"gate": Gate(allowance={"auc": 0}), "rollout": Rollout.canary()}, ["its gate has an allowance that is not above"]),
        ({"gate": Gate(allowance={"n": 1}), "rollout": Rollout.canary()}, ["its gate has an allowance for n"]),
        ({"gate": Gate(known_inputs=("owner",))}, ["its gate has known_inputs owner", "inputs of a recipe"]),
        ({"gate": sliced(tolerance={"n": 1})}, ["gate metrics n", "log_loss"]),
        ({"gate": sliced(tolerance={"auc": -0.1})}, ["slices of colour with a limit below 0", "0 or more"]),
        ({"gate": sliced(largest_gap={"luck": 1})}, ["slices of colour with the metrics luck", "mean_probability"]),
        ({"gate": sliced(edges=(1.0,))}, ["slices of colour with edges, and its type is string", "a column of numbers"]),
        ({"gate": Gate(slices=(Slice("heights__mean", edges=(2, 1)),))}, ["the edges 2, 1", "rising numbers"]),
        ({"gate": Gate(slices=(Slice("colour"), Slice("colour")))}, ["slices of colour, colour", "each column once"]),
        ({"gate": sliced(minimum_rows=0)}, ["minimum_rows 0", "1 or more"]),
        ({"recipes": {}}, ["its recipes are none", "from_scratch"]),
        ({"recipes": {"fine_tune": falls}}, ["its recipes are fine_tune"]),
        ({"recipes": {"from_scratch": falls, "overnight": falls}}, ["overnight", "no others than from_scratch, fine_tune"]),
        ({"task": "regression"}, ["recipe from_scratch in ", "test_spec_check.py is of the task binary", "regression"]),
        ({"recipes": without("heights__median")}, ["column heights__median, which gold/toys/bricks lacks", ".yaml"]),
        ({"recipes": without("colour")}, ["colour of gold/toys/bricks as number, and its type is string", "double"]),
    ],
)  # fmt: skip
def test_a_contradiction_does_not_load_and_is_named(spec: ModelSpec, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(DefinitionError) as refused:
        model_assets(replace(spec, **changes))
    for word in words:
        assert word in str(refused.value)
    if words[0].startswith("its gate") or "gate" not in changes:
        assert f"model toys.{changes.get('name', 'falls')}: " in str(refused.value)


def searching(**changes: Any) -> Search:
    return replace(Search(space={"learning_rate": LogUniform(1e-4, 1e-1)}), **changes)


def space(**fields: Any) -> Search:
    return Search(space=fields)


@pytest.mark.parametrize(
    ("search", "words"),
    [
        (searching(trials=1), ["trials is 1", "2 or more"]),
        (searching(max_minutes=0), ["max_minutes is 0", "more than 0, or None"]),
        (searching(max_cost=-1.0), ["max_cost is -1.0"]),
        (searching(max_concurrent_trials=-1), ["max_concurrent_trials is -1"]),
        (searching(grace_period=31), ["grace_period is 31", "the recipe's epochs, which are 30"]),
        (searching(reduction_factor=1), ["reduction_factor is 1"]),
        (space(), ["its space is empty"]),
        (space(learning_rat=Uniform(0, 1)), ["its space has learning_rat", "lacks", "hidden_widths, learning_rate"]),
        (space(seed=RandInt(1, 5)), ["its space has seed, which decides what a loss is measured on"]),
        (Search(space={"scale.precision": Choice("fp32", "bf16")}), ["its space has scale.precision"]),
        (space(dropout=Uniform(0.4, 0.1)), ["dropout is Uniform(low=0.4, high=0.1)", "the lower one first"]),
        (space(dropout=LogUniform(0, 0.1)), ["dropout is LogUniform", "above 0"]),
        (space(dropout=Choice(0.1, 0.1)), ["dropout is Choice(0.1, 0.1)", "none of them twice"]),
        (space(dropout=(0.1, 0.2)), ["dropout is (0.1, 0.2)", "pipelines.models.search"]),
        (space(minimum_category_count=Uniform(1, 9)), ["the whole number 10", "RandInt, or a Choice"]),
        (space(batch_size=Choice(64, 63)), ["batch_size can be 63, with which recipe of ", "a multiple of 2"]),
    ],
)
def test_a_search_that_contradicts_its_recipe_does_not_load(spec: ModelSpec, search: Search, words: list[str]) -> None:
    recipe = {"from_scratch": lambda: WIDE_AND_DEEP}
    with pytest.raises(DefinitionError) as refused:
        model_assets(replace(spec, recipes=recipe, search=search))
    for word in ("search of model toys.falls: ", "the declaration of falls in assets/toys", *words):
        assert word in str(refused.value)


def test_a_run_that_is_asked_to_search_begins_with_the_recipe_from_scratch(spec: ModelSpec) -> None:
    config = TrainConfig(mode=TrainMode.SEARCH)
    with pytest.raises(SettingsError, match="SEARCH, and model toys.falls declares no search"):
        chosen_recipe(spec, config)
    searched = replace(spec, recipes={"from_scratch": lambda: WIDE_AND_DEEP}, search=searching())
    model_assets(searched)
    assert chosen_recipe(searched, config) == WIDE_AND_DEEP


def test_a_view_of_which_the_training_set_has_no_feature_does_not_load(spec: ModelSpec, tmp_path: Path) -> None:
    instant = toys.text("event_timestamp", **INSTANT, primaryKey=True, primaryKeyPosition=2)
    winds = toys.contract(tmp_path, "gold/toys/winds", [toys.text("tower", **KEY), instant, toys.number("speed")])
    views = (*spec.features.views, feature_view(winds))
    with pytest.raises(
        DefinitionError, match=r"no feature of the view winds, which its service falls_v1 reads.*winds__speed"
    ):
        model_assets(replace(spec, features=replace(spec.features, views=views)))


def test_a_mode_without_a_recipe_is_refused_when_it_is_asked_for(spec: ModelSpec) -> None:
    assert chosen_recipe(spec, TrainConfig()) == falls()
    with pytest.raises(SettingsError, match="FINE_TUNE, and model toys.falls has no recipe fine_tune"):
        chosen_recipe(spec, TrainConfig(mode=TrainMode.FINE_TUNE))


class Brick(Question):
    """Will this brick fall? Its tower is a text, its colour too, and its size a number."""

    nobody: ClassVar[dict[str, object]] = {"tower": "none"}

    tower: Column
    colour: Column = None
    size: Column = None

    @property
    def subject(self) -> str:
        return str(self.tower)

    def columns(self) -> dict[str, Column]:
        return {"tower": self.tower, "colour": self.colour, "heights__other": self.size}


def asking(spec: ModelSpec, nobody: dict[str, object]) -> ServiceSpec:
    """A service whose question about nobody is this one."""
    columns = spec.training_set.columns
    size = replace(spec.training_set.column("heights__mean"), name="heights__other")
    model = replace(
        spec,
        training_set=replace(spec.training_set, columns=(*columns, size)),
        recipes={"from_scratch": lambda: ToyRecipe(inputs=("heights__mean", "colour", "heights__other"))},
    )
    return ServiceSpec(model, type("Asked", (Brick,), {"nobody": nobody}), Runtime("nowhere:deploy", "nowhere"))


@pytest.mark.parametrize(
    ("nobody", "words"),
    [
        ({"tower": 7}, "gives tower as int.*the features are keyed by: str"),
        ({"tower": "t", "colour": 7}, "gives colour as int.*the model reads: str"),
        ({"tower": "t", "size": "tall"}, "gives heights__other as str.*the model reads: int or float"),
    ],
)
def test_a_question_that_gives_another_type_than_is_read_does_not_load(
    spec: ModelSpec, nobody: dict[str, object], words: str
) -> None:
    with pytest.raises(DefinitionError, match=words):
        asking(spec, nobody)


@pytest.mark.parametrize("size", [None, 1, 2.5, True])
def test_a_question_that_gives_what_is_read_loads(spec: ModelSpec, size: object) -> None:
    assert asking(spec, {"tower": "t", "colour": "red", "size": size}).name == "toys.falls"


@pytest.mark.parametrize("plan", [Rollout.canary(assigned_by="towers"), canary(Guard("errors", 0.1, by=("towers",)))])
def test_a_rollout_that_names_a_field_that_the_question_lacks_does_not_load(spec: ModelSpec, plan: Rollout) -> None:
    asking(
        replace(spec, rollout=replace(plan, assigned_by="tower", guards=(Guard("errors", 0.1, by=("size",)),))),
        {"tower": "t"},
    )
    with pytest.raises(DefinitionError, match="rollout names towers, which Asked lacks.*tower, colour, size"):
        asking(replace(spec, rollout=plan), {"tower": "t"})


@pytest.mark.parametrize(
    ("task", "plan", "words"),
    [
        ("regression", canary(Guard("score", 0.1)), "a guard of score, and no mirrored stage"),
        ("text", Rollout.canary(guards=(Guard("score", 0.1),)), "its task is text"),
        ("binary", Rollout.canary(guards=(Guard("score", 0.1),)), ""),
        ("binary", canary(Guard("score", 0.1)), ""),
        ("text", Rollout.canary(guards=(Guard("disagreement", 0.1), Guard("cost", 2.0))), ""),
    ],
)
def test_a_guard_that_nothing_can_measure_does_not_load(spec: ModelSpec, task: Task, plan: Rollout, words: str) -> None:
    refused = pytest.raises(DefinitionError, match=words) if words else contextlib.nullcontext()
    with refused:
        rollout_check.require(replace(spec, task=task, rollout=plan))


def test_outcomes_of_a_table_without_their_columns_do_not_load(spec: ModelSpec, tmp_path: Path) -> None:
    outcomes = toys.contract(
        tmp_path,
        "gold/toys/outcomes",
        [
            toys.text("prediction_id", **KEY),
            toys.integer("fell"),
            toys.text("said"),
            {**toys.text("broke"), "logicalType": "boolean"},
        ],
    )
    for table, label, absent in (
        (outcomes, "fel", "lacks fel\\. Expected"),
        (spec.training_set, "fell", "lacks prediction_id\\. Expected"),
        (outcomes, "said", "the column said of gold/toys/outcomes, whose type is string"),
        (outcomes, "fell", ""),
        (outcomes, "broke", ""),
    ):
        plan = Rollout.canary(guards=(Guard("loss", 0.1),), outcomes=Outcomes(table, label))
        refused = pytest.raises(DefinitionError, match=absent) if absent else contextlib.nullcontext()
        with refused:
            rollout_check.require(replace(spec, rollout=plan))


@pytest.mark.parametrize("code", [None, "def broken(:\n", "raise KeyError('x')\n", "import sys\n\nsys.exit(3)\n", ""])
def test_a_deployed_service_whose_module_is_gone_or_broken_is_an_error_of_it_alone(
    code: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = f"toys_service_{len(code or 'none')}"
    if code is not None:
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
    with pytest.raises(DefinitionError, match="service toys.falls: "):
        find(f"{module}:toys.falls")


def test_a_feature_service_that_reads_a_view_twice_does_not_load(spec: ModelSpec) -> None:
    with pytest.raises(DefinitionError, match="reads gold/toys/heights twice"):
        replace(spec.features, views=spec.features.views * 2)
