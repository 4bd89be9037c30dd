"""A search's trials in MLflow, below the training's run, and as a plot and a table in Dagster."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pipelines.models import search_report
from pipelines.models.registry import Registry
from pipelines.models.search import Choice, LogUniform, Search, SearchOutcome, Trial
from pipelines.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")

SEARCH = Search(space={"learning_rate": LogUniform(1e-3, 1e-1), "hidden_widths": Choice((8,), (16, 8))}, trials=3)


def _trial(number: int, rate: float, widths: tuple[int, ...], *losses: float, error: str | None = None) -> Trial:
    values = {"learning_rate": rate, "hidden_widths": str(widths)}
    state = "failed" if error else "finished" if len(losses) == 2 else "stopped"
    return Trial(number, values, state, losses, 2.0, 1.5, 0.0, 0.25, error)


OUTCOME = SearchOutcome(
    (
        _trial(1, 0.01, (64, 32), 0.7, 0.6),
        _trial(2, 0.05, (8,), 0.5, 0.4),
        _trial(3, 0.002, (16, 8), error="a loss of nan <in epoch 1>"),
    ),
    best=2, ended_by="trials", seconds=7.0,
)  # fmt: skip


def test_trials_are_runs_below_the_training_with_their_values_and_losses(tmp_path: Path) -> None:
    registry = Registry(Settings(home=tmp_path, profile="test"))
    experiment = registry.client.create_experiment("toys.falls")
    parent = registry.client.create_run(experiment).info.run_id
    search_report.track(registry, parent, OUTCOME)
    below = registry.client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'", order_by=["start_time"])
    runs = {run.info.run_name: run for run in below}
    assert {name: run.info.status for name, run in runs.items()} == {
        "trial 1": "FINISHED", "trial 2": "FINISHED", "trial 3": "FAILED",
    }  # fmt: skip
    best = runs["trial 2"]
    assert best.data.params == {"learning_rate": "0.05", "hidden_widths": "(8,)"}
    assert (best.data.metrics["cost"], best.data.metrics["validation_loss"]) == (0.25, 0.4)
    assert best.data.tags["best"] == "true"
    assert runs["trial 3"].data.tags["error"] == "a loss of nan <in epoch 1>"


def test_metadata_has_the_trials_with_the_best_first_and_their_plot() -> None:
    shown = search_report.metadata(SEARCH, OUTCOME)
    assert (shown["search_trials"], shown["search_failed_trials"], shown["search_cost"]) == (3, 1, 0.75)
    assert shown["search"] == (
        "3 trials in 7 s; the best is trial 2, held out 0.4000: learning_rate 0.05, hidden_widths (8,)"
    )
    lines = search_report.table(OUTCOME).splitlines()
    assert lines[2] == "| 2 | finished | 2 | 0.4000 | 0.25 | 0.05 | (8,) |"
    assert lines[4] == "| 3 | failed | 0 | - | 0.25 | 0.002 | (16, 8) |"


def test_the_plot_has_an_axis_for_each_hyperparameter_and_one_for_the_loss() -> None:
    image = ElementTree.fromstring(search_report.parallel(SEARCH, OUTCOME))
    texts = [text.text for text in image.iter("{http://www.w3.org/2000/svg}text")]
    assert {"learning_rate", "hidden_widths", "held-out loss", "0.002", "0.05", "(8,)", "(64, 32)"} <= set(texts)
    lines = list(image.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 3 + 3  # axes and trials
