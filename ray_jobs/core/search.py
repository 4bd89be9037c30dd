"""A search for hyperparameters on the connected cluster: Ray Tune starts its trials, and ASHA ends the worse ones.

What a trial did stands in its folder, and nothing is read from what Ray Tune keeps: a search that was killed goes on
with the same trials, each where it was.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from pipelines.machine import files
from pipelines.models.program import SearchProgress
from pipelines.models.search import Choice, LogUniform, RandInt, Search, SearchOutcome, Trial, Uniform, value_of
from ray_jobs.core import requests
from ray_jobs.core.errors import Interrupted, TrainingError
from ray_jobs.core.progress import Journal
from ray_jobs.core.recipe import TrainingRecipe
from ray_jobs.core.trial import ENDED_FILE, Trials

#: In the search's folder: its outcome, and the seconds that it took so far.
OUTCOME_FILE, SPENT_FILE = "outcome.json", "spent.json"


def drawn(search: Search, recipe: TrainingRecipe) -> tuple[dict[str, Any], ...]:
    """The values of each trial: the recipe's own, then some that the seed decides."""
    random = np.random.RandomState(search.seed)
    domains = {name: _domain(distribution) for name, distribution in search.space.items()}
    own = {name: value_of(recipe, name) for name in search.space}
    others = [
        {name: domain.sample(random_state=random) for name, domain in domains.items()} for _ in range(search.trials - 1)
    ]
    return (own, *others)


def _domain(distribution: Any) -> Any:
    match distribution:
        case Uniform(low, high):
            return tune.uniform(low, high)
        case LogUniform(low, high):
            return tune.loguniform(low, high)
        case RandInt(low, high):
            return tune.randint(low, high + 1)
        case Choice():
            return tune.choice(list(distribution.values))
    raise TypeError(f"{distribution!r} is no distribution")


def find(trials: Trials, *, run_folder: Path) -> SearchOutcome:
    """Runs the trials until the last of them ended or a limit is reached, and chooses the best.

    Args:
        trials: What is tried. Its folder is this search's alone; what an interrupted search left in it is used.
        run_folder: Of the training that follows: progress is written there, and a request to stop is looked for.

    Raises:
        TrainingError: if the cluster has no free slot for a trial, or no trial came to the end of an epoch.
        Interrupted: if `requests.ask_to_stop` was called for the run's folder.
    """
    outcome_file = trials.folder / OUTCOME_FILE
    if outcome_file.exists():
        return _read(outcome_file)
    resources = _resources(trials)
    trials.folder.mkdir(parents=True, exist_ok=True)
    limits = Limits(trials, run_folder)
    tuning = trials.folder / "tune"
    try:
        _tune(trials, limits, resources, tuning)
    finally:
        shutil.rmtree(tuning, ignore_errors=True)
    if limits.interrupted:
        raise Interrupted(
            object=f"search {trials.folder.name}",
            observed="it was asked to stop",
            expected="that it comes to its end",
            next_step="start it again: its trials go on from their last checkpoints",
        )
    outcome = chosen(trials, limits)
    for trial in outcome.trials:
        _clear(trials.folder_of(trial.number))
    files.replace(outcome_file, json.dumps(asdict(outcome)))
    return outcome


def _tune(trials: Trials, limits: Limits, resources: dict[str, float], folder: Path) -> None:
    def trial(config: dict[str, Any]) -> None:
        trials.train(config["number"])

    # Nothing reads its files for other viewers, nor its tables; progress is told by the journal.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    search = trials.search
    tune.Tuner(
        tune.with_resources(trial, resources),
        param_space={"number": tune.grid_search(list(range(1, search.trials + 1)))},
        tune_config=tune.TuneConfig(
            metric="validation_loss",
            mode="min",
            scheduler=ASHAScheduler(
                time_attr="epoch",
                max_t=trials.recipe.epochs,
                grace_period=search.grace_period,
                reduction_factor=search.reduction_factor,
            ),
            max_concurrent_trials=search.max_concurrent_trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            stop=limits,
            callbacks=[Ends(trials, limits)],
            verbose=0,
        ),
    ).fit()


class Ends(tune.Callback):
    """Notes in a trial's folder that it came to its end, and removes its checkpoints and examples."""

    def __init__(self, trials: Trials, limits: Limits) -> None:
        self._trials, self._limits = trials, limits

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self._limits.interrupted:
            return
        folder = self._trials.folder_of(trial.config["number"])
        files.replace(folder / ENDED_FILE, "")
        _clear(folder)


def _clear(folder: Path) -> None:
    """Removes what a trial needed to go on."""
    for path in (folder / "examples", *folder.glob("step-*")):
        shutil.rmtree(path, ignore_errors=True)


class Limits(tune.Stopper):
    """Ends all trials when a limit is reached, or when the run is asked to stop."""

    def __init__(self, trials: Trials, run_folder: Path) -> None:
        self._trials, self._run_folder, self._search = trials, run_folder, trials.search
        self._spent_file = trials.folder / SPENT_FILE
        self._before = json.loads(self._spent_file.read_text()) if self._spent_file.exists() else 0.0
        self._started, self._looked = time.monotonic(), 0.0
        self._costs: dict[str, float] = {}
        self._losses: dict[str, float] = {}
        self.ended_by: Any = "trials"
        self.interrupted = False

    @property
    def seconds(self) -> float:
        """Those of the search so far, without the time between two processes of it."""
        return self._before + time.monotonic() - self._started

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._costs[trial_id], self._losses[trial_id] = result["cost"], result["validation_loss"]
        files.replace(self._spent_file, json.dumps(self.seconds))
        now = SearchProgress(
            len(self._losses), self._search.trials, min(self._losses.values()), sum(self._costs.values())
        )
        Journal("", search=now).write(self._run_folder)
        return False

    def stop_all(self) -> bool:
        if self.ended_by == "trials" and not self.interrupted:
            minutes, cost = self._search.max_minutes, self._search.max_cost
            if minutes is not None and self.seconds >= 60 * minutes:
                self.ended_by = "max_minutes"
            elif cost is not None and sum(self._costs.values()) >= cost:
                self.ended_by = "max_cost"
            elif time.monotonic() - self._looked >= requests.LOOK_SECONDS:
                self._looked = time.monotonic()
                self.interrupted = (self._run_folder / requests.STOP_FILE).exists()
        return self.ended_by != "trials" or self.interrupted


def _resources(trials: Trials) -> dict[str, float]:
    """What one trial reserves: a GPU where the cluster has any, else a CPU."""
    cluster = ray.cluster_resources() if ray.is_initialized() else {}
    if cluster.get("GPU", 0) >= 1:
        return {"cpu": 0, "gpu": 1}
    if cluster.get("CPU", 0) >= 1:
        return {"cpu": 1}
    raise TrainingError(
        object=f"search {trials.folder.name}",
        observed="a cluster without a CPU" if cluster else "this process is connected to no Ray cluster",
        expected="a CPU or a GPU, one per trial",
        next_step="connect to a cluster with workers",
    )


def chosen(trials: Trials, limits: Limits) -> SearchOutcome:
    """What the trials' folders say, and the best; raises TrainingError if no trial came to the end of an epoch."""
    began = [trials.outcome(number) for number in range(1, trials.search.trials + 1)]
    found = tuple(trial for trial in began if trial is not None)
    measured = [trial for trial in found if trial.validation_losses and trial.state != "failed"]
    if not measured:
        failures = [trial.error for trial in found if trial.error]
        raise TrainingError(
            object=f"search {trials.folder.name}",
            observed=f"all {len(failures)} trials failed, the first with: {failures[0]}" if failures
            else f"no trial came to the end of an epoch before its limit {limits.ended_by}",
            expected="at least one trial with a loss of the held-out rows",
            next_step="correct the space or the recipe" if failures else "raise the limits of the search",
        )  # fmt: skip
    best = min(measured, key=lambda trial: (trial.validation_losses[-1], trial.number))
    return SearchOutcome(found, best.number, limits.ended_by, limits.seconds)


def _read(path: Path) -> SearchOutcome:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    trials = [
        Trial(validation_losses=tuple(trial.pop("validation_losses")), **trial) for trial in document.pop("trials")
    ]
    return SearchOutcome(tuple(trials), **document)
