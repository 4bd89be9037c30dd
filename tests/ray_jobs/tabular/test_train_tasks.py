"""Models of the tasks regression and multiclass: trained on a cluster, compared, saved, fine-tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.models import gate, tasks
from pipelines.models.answers import Estimate, Probabilities
from pipelines.models.judgement import Gate
from pipelines.models.program import Challenge, RecipeError, Window
from ray_jobs.core.dataset import DatasetVersion, Rows, evaluation_rows
from ray_jobs.core.errors import DatasetError
from ray_jobs.core.multiclass import Multiclass
from ray_jobs.programs import TABULAR
from ray_jobs.tabular.model import TabularModel, load
from ray_jobs.tabular.recipe import Recipe
from ray_jobs.tabular.regression import Regression
from tests.instants import instants
from tests.ray_jobs.tabular.made_up import LABELS, REGRESSION, made_up_table, multiclass

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

Run = Callable[..., Challenge]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return made_up_table(tmp_path_factory.mktemp("made_up"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def challenge(cluster: None, made_up: DatasetVersion, folder: Path) -> Run:
    """Trains by the program, into `folder / name`."""
    challenge = TABULAR.load()

    def run(recipe: Recipe, name: str, *, base: str | None = None, champion: str | None = None) -> Challenge:
        return challenge(
            recipe, place="process", table_uri=made_up.uri, table_version=made_up.version, storage_path=str(folder / "checkpoints"),
            run_name=name, model_dir=folder / name, window=recipe.gate_window,
            base_model_dir=folder / base if base else None, champion_dir=folder / champion if champion else None,
            gate=gate.named(recipe.task, Gate()), on_progress=lambda progress: None,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def regression(challenge: Run) -> Challenge:
    return challenge(REGRESSION, "later")


@pytest.fixture(scope="module")
def many_labels(challenge: Run) -> Challenge:
    return challenge(multiclass(), "kind")


@pytest.fixture(scope="module")
def gate_rows(made_up: DatasetVersion) -> Callable[[Recipe], Rows]:
    return lambda recipe: evaluation_rows(made_up, recipe, recipe.gate_window)


def test_a_regression_beats_the_linear_model_and_persistence(regression: Challenge) -> None:
    metrics = {name: evaluation.metrics for name, evaluation in regression.evaluations.items()}
    assert list(metrics) == ["challenger", "baseline", "persistence"]
    for metric in tasks.TASKS["regression"].gate:
        assert metrics["challenger"][metric] < 0.7 * min(metrics[name][metric] for name in ("baseline", "persistence"))


def test_the_interval_holds_about_as_many_true_values_as_its_level(regression: Challenge) -> None:
    metrics = regression.evaluations["challenger"].metrics
    assert metrics["coverage"] == pytest.approx(0.9, abs=0.05)
    assert metrics["interval_width"] > 2 * 0.5


def test_a_loaded_regression_answers_with_the_value_and_interval_that_were_measured(
    regression: Challenge, folder: Path, gate_rows: Callable[[Recipe], Rows]
) -> None:
    rows, model = gate_rows(REGRESSION), load(folder / "later")
    answers = model.answer({name: column.tolist() for name, column in rows.columns.items()})
    assert (model.task, model.inputs) == ("regression", ("place", "now", "hour"))
    assert all(isinstance(a, Estimate) and a.level == 0.9 and a.low < a.value < a.high for a in answers)
    errors = np.array([answer.value for answer in answers if isinstance(answer, Estimate)]) - rows.labels
    assert np.abs(errors).mean() == pytest.approx(regression.evaluations["challenger"].metrics["mae"])


def test_fine_tuning_a_regression_keeps_its_scale_and_may_fit_its_interval_again(
    challenge: Run, regression: Challenge, folder: Path
) -> None:
    gate, days = instants(REGRESSION.gate_window), timedelta(days=12)
    tuning = replace(
        REGRESSION, train_window=Window(gate.start, gate.start + days), gate_window=Window(gate.start + days, gate.end),
        interval_level=0.8, holdout_every_days=3, epochs=1, learning_rate=1e-4,
    )  # fmt: skip
    tuned = challenge(tuning, "tuned", base="later", champion="later")
    base, after = (TabularModel.load(folder / name).objective for name in ("later", "tuned"))
    assert isinstance(base, Regression)
    assert isinstance(after, Regression)
    assert (after.mean, after.deviation) == (base.mean, base.deviation)
    assert (base.level, after.level) == (0.9, 0.8)
    assert after.half_width < base.half_width
    assert list(tuned.evaluations) == ["challenger", "baseline", "persistence", "champion"]
    assert tuned.evaluations["champion"].metrics["rmse"] < tuned.evaluations["baseline"].metrics["rmse"]


def test_an_interval_that_is_kept_has_the_base_models_level(challenge: Run, regression: Challenge) -> None:
    with pytest.raises(RecipeError, match=r"interval_level: 0\.8.*0\.9"):
        challenge(replace(REGRESSION, calibration="keep", interval_level=0.8), "level", base="later")


def test_many_labels_get_better_probabilities_than_by_the_linear_model(many_labels: Challenge) -> None:
    challenger, baseline = (many_labels.evaluations[name].metrics for name in ("challenger", "baseline"))
    assert challenger["log_loss"] < baseline["log_loss"]
    assert challenger["accuracy"] > baseline["accuracy"]
    assert challenger["accuracy"] > 0.8


def test_the_probabilities_of_all_labels_add_up_to_1(
    many_labels: Challenge, folder: Path, gate_rows: Callable[[Recipe], Rows]
) -> None:
    rows, model = gate_rows(multiclass()), load(folder / "kind")
    answers = model.answer({name: column.tolist() for name, column in rows.columns.items()})
    right = 0
    for answer, label in zip(answers, rows.labels, strict=True):
        assert isinstance(answer, Probabilities)
        assert tuple(answer.by_label) == LABELS
        assert sum(answer.by_label.values()) == pytest.approx(1.0)
        right += answer.label == label
    assert right / len(answers) == many_labels.evaluations["challenger"].metrics["accuracy"]
    assert TabularModel.load(folder / "kind").objective != Multiclass(LABELS)  # its temperature was fitted


def test_a_base_model_or_champion_of_another_task_is_refused(
    challenge: Run, regression: Challenge, many_labels: Challenge
) -> None:
    other: dict[str, Any] = {"numeric": ("now", "hour"), "categorical": ("place",)}
    with pytest.raises(RecipeError, match=r"champion in .*its task is regression.*task multiclass"):
        challenge(multiclass(**other), "other_champion", champion="later")
    with pytest.raises(RecipeError, match=r"base model in .*its task is multiclass.*task regression"):
        challenge(REGRESSION, "other_base", base="kind")


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        (replace(REGRESSION, label="kind", baseline_column=None), "label kind of later: texts"),
        (multiclass(label="later"), "label later of kind: numbers"),
        (
            replace(REGRESSION, task="binary", interval_level=None, baseline_column=None),
            "label later of later: values such as",
        ),
    ],
)
def test_labels_of_another_task_are_refused_before_any_worker_starts(
    challenge: Run, recipe: Recipe, problem: str
) -> None:
    with pytest.raises(DatasetError, match=problem):
        challenge(recipe, "labels")
