"""Trains a model of a program, then compares it with the program's baselines and the champion.

A search, where one is asked for, comes first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.cost.prices import PriceSheet
from pipelines.models.judgement import Gate
from pipelines.models.program import CHALLENGER, CHAMPION, Challenge, Part, Program
from pipelines.models.search import Search, SearchOutcome, with_values
from ray_jobs.core import leakage
from ray_jobs.core.contest import Contender, contest
from ray_jobs.core.dataset import DatasetVersion, evaluation_rows
from ray_jobs.core.program import require_task
from ray_jobs.core.recipe import TrainingRecipe
from ray_jobs.core.sample import sampled_rows
from ray_jobs.core.train import train


def challenge(
    program: Program,
    recipe: TrainingRecipe,
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
    search: Search | None = None,
    prices: PriceSheet | None = None,
) -> Challenge:
    """Searches, trains and compares in this process; `pipelines.models.program.Fabric` explains the arguments.

    Raises:
        TrainingError, RecipeError, DatasetError: as `train` does; RecipeError also for a champion of another task, and
            DatasetError for leakage.
        MetricError: if the held-out rows or `window` do not decide calibration or a metric.
    """
    table = DatasetVersion(table_uri, table_version)
    champion: Any = program.predictor(champion_dir) if champion_dir else None
    if champion is not None:
        require_task(champion, recipe, object=f"champion in {champion_dir}")
    # Read before training, which takes longer: a window without rows, or a champion's column that is gone, ends here.
    rows = evaluation_rows(table, recipe, window, further=(*gate.columns, *(champion.inputs if champion else ())))
    single_inputs = leakage.require_none(table, recipe, window, gate)
    outcome = None
    if search is not None:
        assert prices is not None, "a search needs the prices that its trials are charged by"
        outcome, recipe = _searched(
            program,
            recipe,
            search,
            prices,
            table=table,
            base_model_dir=base_model_dir,
            run_folder=Path(storage_path) / run_name,
        )
    run = train(
        program.definition(),
        recipe,
        table=table,
        storage_path=storage_path,
        run_name=run_name,
        model_dir=model_dir,
        base_model_dir=base_model_dir,
        beside=lambda fitted: fitted.baselines(sampled_rows(table, recipe, "all")),
    )
    challenger: Any = program.predictor(model_dir)
    contenders: dict[str, Contender] = {CHALLENGER: challenger, **run.beside}
    if champion is not None:
        contenders[CHAMPION] = champion
    compared = contest(rows, contenders, measure=challenger.evaluate, gate=gate)
    judgement = replace(compared.judgement, single_inputs=single_inputs)
    return Challenge(run.record(), compared.evaluations, judgement, outcome, recipe if outcome else None)


def _searched(
    program: Program,
    recipe: TrainingRecipe,
    search: Search,
    prices: PriceSheet,
    *,
    table: DatasetVersion,
    base_model_dir: Path | None,
    run_folder: Path,
) -> tuple[SearchOutcome, TrainingRecipe]:
    """What the search found, and the recipe with the values of its best trial."""
    from ray_jobs.core.search import drawn, find  # it imports Ray Tune, which most trainings do without
    from ray_jobs.core.trial import Trials

    values = drawn(search, recipe)
    folder = run_folder.with_name(f"{run_folder.name}-search")
    outcome = find(
        Trials(program, recipe, values, table, base_model_dir, folder, prices, search), run_folder=run_folder
    )
    return outcome, with_values(recipe, values[outcome.best - 1])
