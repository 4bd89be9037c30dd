"""The training program of tabular classifiers: train a model, then compare it with the baseline and the champion."""

from __future__ import annotations

from pathlib import Path

from pipelines.models.program import BASELINE, CHALLENGER, CHAMPION, Challenge, OnEpoch, Window
from ray_jobs.core.contest import Contender, contest
from ray_jobs.core.dataset import DatasetVersion, evaluation_rows
from ray_jobs.tabular.baseline import fit_baseline
from ray_jobs.tabular.evaluate import evaluate
from ray_jobs.tabular.model import TabularModel
from ray_jobs.tabular.recipe import Recipe
from ray_jobs.tabular.train import train


def challenge(
    recipe: Recipe,
    *,
    table_uri: str,
    table_version: int,
    storage_path: str,
    run_name: str,
    model_dir: Path,
    window: Window,
    base_model_dir: Path | None,
    champion_dir: Path | None,
    on_epoch: OnEpoch,
) -> Challenge:
    """A `pipelines.models.program.TrainingProgram`, which explains the arguments.

    Raises:
        TrainingError, RecipeError: as `train` does.
        DatasetError: if the table lacks columns, or rows in a window.
        MetricError: if the held-out days, the gate window or `window` have only one class.
    """
    table = DatasetVersion(table_uri, table_version)
    run = train(
        recipe,
        table=table,
        storage_path=storage_path,
        run_name=run_name,
        model_dir=model_dir,
        base_model_dir=base_model_dir,
        on_epoch=on_epoch,
    )
    contenders: dict[str, Contender] = {
        CHALLENGER: TabularModel.load(model_dir),
        BASELINE: fit_baseline(recipe, table=table),
    }
    if champion_dir is not None:
        contenders[CHAMPION] = TabularModel.load(champion_dir)
    return Challenge(run, contest(evaluation_rows(table, recipe, window), contenders, measure=evaluate))
