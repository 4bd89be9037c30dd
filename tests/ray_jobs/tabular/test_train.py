"""Training on two workers: a better model than chance, and the same one after workers were killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipelines.models.program import Epoch, Progress, RecipeError, SearchProgress, Window
from ray_jobs.core.dataset import DatasetVersion, evaluation_rows
from ray_jobs.core.errors import TrainingError
from ray_jobs.core.model_folder import WEIGHTS_FILE
from ray_jobs.tabular.model import TabularModel
from ray_jobs.tabular.recipe import Recipe
from tests.instants import instants
from tests.ray_jobs.mortal import Death

if TYPE_CHECKING:
    from ray_jobs.core.train import TrainResult

pytestmark = [
    pytest.mark.ray,
    # Ray Train touches options of Ray Data that Ray Data calls deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

Train = Callable[..., "TrainResult"]


@pytest.fixture(scope="module")
def train(cluster: None) -> Train:
    """The function under test, imported after the cluster has set what Ray reads while it is imported."""
    from ray_jobs.core.train import train
    from ray_jobs.tabular.program import Tabular

    return partial(train, Tabular)


def _metrics(result: TrainResult, recipe: Recipe, table: DatasetVersion) -> Mapping[str, float]:
    """Those of the model on the gate window."""
    rows = evaluation_rows(table, recipe, recipe.gate_window)
    return result.model.evaluate(rows.labels, result.model.predict(rows.columns)).metrics


def _losses(result: TrainResult) -> list[tuple[int, float, float]]:
    return [(epoch.number, epoch.train_loss, epoch.validation_loss) for epoch in result.history]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def delivered() -> list[Epoch | Progress | SearchProgress]:
    """What the uninterrupted run passes to `on_progress`."""
    return []


@pytest.fixture(scope="module")
def trained(
    train: Train,
    recipe: Recipe,
    table: DatasetVersion,
    storage: Path,
    delivered: list[Epoch | Progress | SearchProgress],
) -> TrainResult:
    """An uninterrupted run."""
    return train(
        recipe, table=table, storage_path=str(storage), run_name="calm", model_dir=storage / "calm-model",
        on_progress=delivered.append,
    )  # fmt: skip


def test_training_lowers_the_loss_and_orders_rows_better_than_chance(
    trained: TrainResult, recipe: Recipe, table: DatasetVersion
) -> None:
    assert [epoch.number for epoch in trained.history] == [1, 2, 3, 4, 5, 6]
    assert trained.history[-1].train_loss < trained.history[0].train_loss
    assert _metrics(trained, recipe, table)["auc"] > 0.6
    assert (trained.workers, trained.resumed_after) == (recipe.num_workers, ())


def test_each_epoch_is_delivered_in_turn(
    trained: TrainResult, delivered: list[Epoch | Progress | SearchProgress]
) -> None:
    assert tuple(delivered) == trained.history


def test_the_saved_model_predicts_as_the_trained_one(
    trained: TrainResult, recipe: Recipe, table: DatasetVersion, storage: Path
) -> None:
    rows = evaluation_rows(table, recipe, recipe.gate_window)
    saved = TabularModel.load(storage / "calm-model")
    assert np.array_equal(saved.predict(rows.columns), trained.model.predict(rows.columns))


def test_a_run_with_killed_workers_ends_with_the_same_weights(
    trained: TrainResult, recipe: Recipe, table: DatasetVersion, storage: Path
) -> None:
    from ray_jobs.core.train import train
    from ray_jobs.tabular.program import Tabular

    one_failure = replace(recipe, max_failures=1)
    (storage / "marks").mkdir()
    death = Death(Tabular, storage / "marks", (50, 30))  # of 108 steps, 18 an epoch
    where: dict[str, Any] = {
        "table": table,
        "storage_path": str(storage),
        "run_name": "killed",
        "model_dir": storage / "killed-model",
    }
    with pytest.raises(TrainingError, match="goes on"):
        train(death, one_failure, **where)
    resumed = train(Tabular, one_failure, **where)
    assert len(resumed.resumed_after) == 2
    assert _losses(resumed) == _losses(trained)
    weights = [(storage / name / WEIGHTS_FILE).read_bytes() for name in ("killed-model", "calm-model")]
    assert weights[0] == weights[1]


def test_resuming_a_run_with_another_recipe_raises_an_error(
    train: Train, trained: TrainResult, recipe: Recipe, table: DatasetVersion, storage: Path
) -> None:
    with pytest.raises(TrainingError, match="another recipe"):
        train(
            replace(recipe, epochs=7), table=table, storage_path=str(storage), run_name="calm",
            model_dir=storage / "again",
        )  # fmt: skip


def test_fine_tuning_starts_from_the_base_models_weights_and_keeps_its_encoder(
    train: Train, trained: TrainResult, recipe: Recipe, table: DatasetVersion, storage: Path
) -> None:
    gate, days = instants(recipe.gate_window), timedelta(days=5)
    tuning = replace(
        recipe,
        train_window=Window(gate.start, gate.start + days),
        gate_window=Window(gate.start + days, gate.end),
        calibration="keep",
        epochs=1,
        learning_rate=1e-5,
    )
    train(
        tuning, table=table, storage_path=str(storage), run_name="tuned", model_dir=storage / "tuned-model",
        base_model_dir=storage / "calm-model",
    )  # fmt: skip
    base, after = TabularModel.load(storage / "calm-model"), TabularModel.load(storage / "tuned-model")
    assert after.encoder.to_json() == base.encoder.to_json()
    assert after.objective == base.objective
    for name, weight in base.network.state_dict().items():
        change = (after.network.state_dict()[name] - weight).abs().max()
        assert change < 0.01, name
    assert (storage / "tuned-model" / WEIGHTS_FILE).read_bytes() != (storage / "calm-model" / WEIGHTS_FILE).read_bytes()


def test_a_base_model_with_other_inputs_raises_an_error(
    train: Train, trained: TrainResult, recipe: Recipe, table: DatasetVersion, storage: Path
) -> None:
    fewer = replace(recipe, numeric=("departure_minute", "distance"))
    with pytest.raises(RecipeError, match="tail"):
        train(
            fewer, table=table, storage_path=str(storage), run_name="fewer", model_dir=storage / "fewer-model",
            base_model_dir=storage / "calm-model",
        )  # fmt: skip


def test_more_workers_than_cpus_raise_an_error(
    train: Train, recipe: Recipe, table: DatasetVersion, storage: Path
) -> None:
    with pytest.raises(TrainingError, match="CPUs"):
        train(
            replace(recipe, num_workers=1000, batch_size=1000), table=table, storage_path=str(storage),
            run_name="crowd", model_dir=storage / "crowd-model",
        )  # fmt: skip


def test_a_calibration_to_keep_without_a_base_model_raises_an_error(
    train: Train, recipe: Recipe, table: DatasetVersion, storage: Path
) -> None:
    with pytest.raises(RecipeError, match="no base model"):
        train(
            replace(recipe, calibration="keep"), table=table, storage_path=str(storage), run_name="baseless",
            model_dir=storage / "baseless-model",
        )  # fmt: skip
