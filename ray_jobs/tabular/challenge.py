"""The training program of tables' rows: train a model, then compare it with the baselines and the champion."""

from __future__ import annotations

from pathlib import Path

from pipelines.models.judgement import Gate
from pipelines.models.program import CHALLENGER, CHAMPION, Challenge, OnEpoch, Part
from ray_jobs.core.contest import Contender, contest
from ray_jobs.core.dataset import DatasetVersion, evaluation_rows
from ray_jobs.tabular.baseline import fit_baselines
from ray_jobs.tabular.model import TabularModel
from ray_jobs.tabular.recipe import Recipe
from ray_jobs.tabular.train import require_task, train


def challenge(
    recipe: Recipe,
    *,
    table_uri: str,
    table_version: int,
    storage_path: str,
    run_name: str,
    model_dir: Path,
    window: Part,
    base_model_dir: Path | None,
    champion_dir: Path | None,
    gate: Gate,
    on_epoch: OnEpoch,
) -> Challenge:
    """A `pipelines.models.program.TrainingProgram`, which explains the arguments.

    Raises:
        TrainingError, RecipeError, DatasetError: as `train` does; RecipeError also for a champion of another task.
        MetricError: if the held-out days, the gate window or `window` do not decide calibration or a metric.
    """
    table = DatasetVersion(table_uri, table_version)
    champion = _champion(champion_dir, recipe)
    # Read before training, which takes longer: a window without rows, or a champion's column that is gone, ends here.
    rows = evaluation_rows(table, recipe, window, further=(*gate.columns, *(champion.inputs if champion else ())))
    run = train(
        recipe,
        table=table,
        storage_path=storage_path,
        run_name=run_name,
        model_dir=model_dir,
        base_model_dir=base_model_dir,
        on_epoch=on_epoch,
    )
    challenger = TabularModel.load(model_dir)
    contenders: dict[str, Contender] = {
        CHALLENGER: challenger,
        **fit_baselines(recipe, table=table),
    }
    if champion is not None:
        contenders[CHAMPION] = champion
    compared = contest(rows, contenders, measure=challenger.objective.evaluate, gate=gate)
    return Challenge(run, compared.evaluations, compared.judgement)


def _champion(folder: Path | None, recipe: Recipe) -> TabularModel | None:
    if folder is None:
        return None
    champion = TabularModel.load(folder)
    require_task(champion, recipe, object=f"champion in {folder}")
    return champion
