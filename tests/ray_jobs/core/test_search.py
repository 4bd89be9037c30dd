"""A search on a real cluster: seeded trials, a failed one, limits, an interruption, and the best as a challenger."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.cost.prices import PriceSheet
from pipelines.models import gate
from pipelines.models.judgement import Gate
from pipelines.models.program import CHALLENGER, SearchProgress
from pipelines.models.search import Choice, LogUniform, RandInt, Search, SearchOutcome, Uniform, with_values
from ray_jobs.core import requests
from ray_jobs.core.dataset import DatasetVersion
from ray_jobs.core.errors import Interrupted, TrainingError
from ray_jobs.programs import TABULAR
from tests.ray_jobs.tabular.made_up import REGRESSION, made_up_table

if TYPE_CHECKING:
    from ray_jobs.core.trial import Trials

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

RECIPE = dataclasses.replace(REGRESSION, epochs=4, batch_size=320, num_workers=2)
SPACE = {"learning_rate": LogUniform(1e-5, 3e-2), "hidden_widths": Choice((8,), (16, 8))}
SEARCH = Search(space=SPACE, trials=4, max_concurrent_trials=2, reduction_factor=2, seed=3)
PRICES = PriceSheet(
    "EUR", "2026-01-01", {"cpu_core_hour": 3600.0, "memory_gib_hour": 0, "bytes_read_gib": 0, "bytes_written_gib": 0},
    {"default": 1.0},
)  # fmt: skip

Find = Callable[..., SearchOutcome]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return made_up_table(tmp_path_factory.mktemp("made_up"))


@pytest.fixture
def trials(cluster: None, made_up: DatasetVersion, tmp_path: Path) -> Callable[..., Trials]:
    """Makes the trials of a search in a folder; imported after the cluster has set what Ray reads when it is imported."""
    from ray_jobs.core.search import drawn
    from ray_jobs.core.trial import Trials

    def make(search: Search, recipe: Any = RECIPE) -> Trials:
        folder = tmp_path / "run-search"
        return Trials(TABULAR, recipe, drawn(search, recipe), made_up, None, folder, PRICES, search)

    return make


def test_a_search_trains_the_best_of_its_trials_as_the_challenger(
    cluster: None, made_up: DatasetVersion, tmp_path: Path
) -> None:
    seen: list[Any] = []

    result = TABULAR.load()(
        RECIPE, place="process", table_uri=made_up.uri, table_version=made_up.version, storage_path=str(tmp_path),
        run_name="run", model_dir=tmp_path / "model", window=RECIPE.gate_window, base_model_dir=None,
        champion_dir=None, gate=gate.named("regression", Gate()), on_progress=seen.append, search=SEARCH, prices=PRICES,
    )  # fmt: skip
    search = result.search
    assert search is not None
    assert [trial.number for trial in search.trials] == [1, 2, 3, 4]
    assert search.trials[0].values == {"learning_rate": RECIPE.learning_rate, "hidden_widths": str((64, 32))}
    losses = {trial.number: trial.validation_losses[-1] for trial in search.trials}
    assert losses[search.best] == min(losses.values())
    assert search.best_trial.state == "finished"
    assert {trial.state for trial in search.trials} == {"finished", "stopped"}
    assert all(trial.cpu_seconds > 0 for trial in search.trials)
    # A core costs 1 a second here.
    assert [trial.cost for trial in search.trials] == pytest.approx([trial.cpu_seconds for trial in search.trials])
    # The challenger is the recipe with these values, trained on the recipe's workers.
    assert result.run.workers == 2
    assert len(result.run.history) == RECIPE.epochs
    assert result.recipe.learning_rate == search.best_trial.values["learning_rate"]
    assert result.run.history[-1].validation_loss == pytest.approx(losses[search.best], rel=0.2)
    assert result.evaluations[CHALLENGER].metrics["mae"] > 0
    assert any(isinstance(progress, SearchProgress) for progress in seen)
    # Nothing that a trial needed to go on is left.
    assert not [*tmp_path.glob("run-search/trial-*/step-*"), *tmp_path.glob("run-search/trial-*/examples")]


def test_the_same_seed_draws_the_same_values_within_their_distributions(cluster: None) -> None:
    from ray_jobs.core.search import drawn

    space = {**SPACE, "dropout": Uniform(0.1, 0.3), "minimum_category_count": RandInt(2, 3)}
    search = dataclasses.replace(SEARCH, space=space, trials=40)
    first = drawn(search, RECIPE)
    assert first == drawn(search, RECIPE)
    assert first != drawn(dataclasses.replace(search, seed=4), RECIPE)
    for values in first[1:]:
        assert 1e-5 <= values["learning_rate"] <= 3e-2
        assert 0.1 <= values["dropout"] <= 0.3
    assert {values["minimum_category_count"] for values in first[1:]} == {2, 3}
    assert {values["hidden_widths"] for values in first[1:]} == {(8,), (16, 8)}
    assert with_values(RECIPE, first[1]).hidden_widths == first[1]["hidden_widths"]


def test_a_failed_trial_does_not_end_the_search_and_is_told(trials: Callable[..., Trials], tmp_path: Path) -> None:
    from ray_jobs.core.search import find

    own = trials(dataclasses.replace(SEARCH, trials=2))
    broken = dataclasses.replace(own, values=({**own.values[0], "learning_rate": 1e30}, own.values[1]))
    outcome = find(broken, run_folder=tmp_path / "run")
    assert [trial.state for trial in outcome.trials] == ["failed", "finished"]
    assert "a loss of" in str(outcome.trials[0].error)
    assert outcome.best == 2


def test_a_search_ends_at_its_cost_and_counts_what_was_found(trials: Callable[..., Trials], tmp_path: Path) -> None:
    from ray_jobs.core.search import find

    search = dataclasses.replace(SEARCH, trials=50, max_cost=1e-9, max_concurrent_trials=1)
    outcome = find(trials(search), run_folder=tmp_path / "run")
    assert outcome.ended_by == "max_cost"
    assert len(outcome.trials) == 1
    assert outcome.best_trial.validation_losses


def test_a_search_without_one_epoch_within_its_minutes_is_an_error(
    trials: Callable[..., Trials], tmp_path: Path
) -> None:
    from ray_jobs.core.search import Limits, chosen

    search = trials(dataclasses.replace(SEARCH, max_minutes=1e-6))
    limits = Limits(search, tmp_path / "run")
    while not limits.stop_all():
        time.sleep(0.01)
    with pytest.raises(TrainingError, match="no trial came to the end of an epoch before its limit max_minutes"):
        chosen(search, limits)


def test_an_interrupted_search_goes_on_with_its_trials_and_ends_the_same(
    trials: Callable[..., Trials], tmp_path: Path
) -> None:
    from ray_jobs.core.search import find

    search = dataclasses.replace(SEARCH, trials=2, max_concurrent_trials=1, grace_period=4)
    folder = tmp_path / "run-search"
    interrupting = threading.Thread(target=_stop_after_the_first_epoch, args=(folder, tmp_path / "run"))
    interrupting.start()
    with pytest.raises(Interrupted, match="go on from their last checkpoints"):
        find(trials(search), run_folder=tmp_path / "run")
    interrupting.join()
    requests.withdraw(tmp_path / "run")
    ended = sorted(path.parent.name for path in folder.glob("trial-*/ended"))
    assert ended in ([], ["trial-001"])
    before = json.loads((folder / "trial-001" / "journal.json").read_text())["epochs"]
    first = find(trials(search), run_folder=tmp_path / "run")
    after = json.loads((folder / "trial-001" / "journal.json").read_text())["epochs"]
    assert after[: len(before)] == before
    assert [trial.state for trial in first.trials] == ["finished", "finished"]
    # The outcome is kept: a training that is interrupted after its search uses it.
    assert find(trials(search), run_folder=tmp_path / "run") == first
    # And it follows from the trials' folders: what one did is not done again.
    (folder / "outcome.json").unlink()
    shutil.rmtree(folder / "trial-002")
    again = find(trials(search), run_folder=tmp_path / "run")
    assert json.loads((folder / "trial-001" / "journal.json").read_text())["epochs"] == after
    assert [trial.validation_losses for trial in again.trials] == [trial.validation_losses for trial in first.trials]


def _stop_after_the_first_epoch(search_folder: Path, run_folder: Path) -> None:
    while not (search_folder / "trial-001" / "journal.json").exists():
        time.sleep(0.05)
    requests.ask_to_stop(run_folder)
