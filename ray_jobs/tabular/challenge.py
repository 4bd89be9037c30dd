"""One challenge: train a model, then measure it, the baseline and the champion on flights that none was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ray_jobs.core.contest import Contender, Standing, contest
from ray_jobs.core.dataset import TableVersion
from ray_jobs.core.progress import OnEpoch, silent
from ray_jobs.tabular.baseline import fit_baseline
from ray_jobs.tabular.model import TabularModel
from ray_jobs.tabular.recipe import Recipe, Window
from ray_jobs.tabular.train import TrainResult, train

CHALLENGER, BASELINE, CHAMPION = "challenger", "baseline", "champion"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What came out: the run, and every contender's standing on the window."""

    run: TrainResult
    window: Window
    standings: Mapping[str, Standing]


def challenge(
    recipe: Recipe,
    *,
    table_uri: str,
    table_version: int,
    storage_path: str,
    run_name: str,
    model_dir: Path,
    window: Window,
    base_model_dir: Path | None = None,
    champion_dir: Path | None = None,
    on_epoch: OnEpoch = silent,
) -> Challenge:
    """Trains on the cluster that this process is connected to, then compares.

    Args:
        window: Where contenders are compared: within or after the gate window, and after the champion's training.
        base_model_dir: A model to fine-tune.
        champion_dir: The model that serves now; None before the first.
        on_epoch: Is told of each epoch as it ends.
    """
    table = TableVersion(table_uri, table_version)
    result = train(
        recipe, table=table, storage_path=storage_path, run_name=run_name, model_dir=model_dir,
        base_model_dir=base_model_dir, on_epoch=on_epoch,
    )  # fmt: skip
    contenders: dict[str, Contender] = {
        CHALLENGER: TabularModel.load(model_dir),
        BASELINE: fit_baseline(recipe, table=table).baseline,
    }
    if champion_dir is not None:
        contenders[CHAMPION] = TabularModel.load(champion_dir)
    return Challenge(result, window, contest(recipe, table=table, window=window, contenders=contenders))
