"""What a search leaves: a plot and a table of its trials in Dagster, and a run of each in MLflow."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.machine import files
from pipelines.models.registry import Registry
from pipelines.models.search import Choice, Distribution, LogUniform, Search, SearchOutcome, Trial
from pipelines.quality import plots, svg
from pipelines.quality.plots import ACCENT, INK, QUIET

PLOT_FILE = "trials.svg"
#: In pixels: between two axes, their height, and the margins at the sides and above.
_GAP, _HEIGHT, _SIDE, _TOP = 130, 190, 80, 56
#: How many letters fit between two axes.
_LONGEST = 24


def write(search: Search, outcome: SearchOutcome, evidence: Path) -> None:
    """Writes the plot of the trials beside the other evidence."""
    files.replace(evidence / PLOT_FILE, parallel(search, outcome))


def metadata(search: Search, outcome: SearchOutcome) -> dict[str, Any]:
    """What Dagster shows of a search beside the training's own figures."""
    best = outcome.best_trial
    return {
        "search": str(outcome),
        "search_trials": len(outcome.trials),
        "search_failed_trials": sum(trial.state == "failed" for trial in outcome.trials),
        "search_best": dg.MetadataValue.json(dict(best.values)),
        "search_seconds": round(outcome.seconds, 3),
        "search_cost": outcome.cost,
        "search_table": dg.MetadataValue.md(table(outcome)),
        "search_plot": dg.MetadataValue.md(plots.markdown(parallel(search, outcome))),
    }


def track(registry: Registry, parent: str, outcome: SearchOutcome) -> None:
    """Tracks each trial in MLflow as a run below the training's run `parent`."""
    from mlflow.entities import Metric, Param
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client, now = registry.client, int(time.time() * 1000)
    experiment_id = client.get_run(parent).info.experiment_id
    for trial in outcome.trials:
        tags = {MLFLOW_PARENT_RUN_ID: parent, "state": trial.state, "best": str(trial.number == outcome.best).lower()}
        tags |= {"error": trial.error[:5000]} if trial.error else {}
        run_id = client.create_run(experiment_id, run_name=f"trial {trial.number}", tags=tags).info.run_id
        figures = {"seconds": trial.seconds, "cpu_seconds": trial.cpu_seconds, "gpu_seconds": trial.gpu_seconds}
        points = [Metric(name, value, now, 0) for name, value in {**figures, "cost": trial.cost}.items()]
        points += [Metric("validation_loss", loss, now, step) for step, loss in enumerate(trial.validation_losses)]
        params = [Param(name, str(value)[:500]) for name, value in trial.values.items()]
        client.log_batch(run_id, metrics=points, params=params)
        client.set_terminated(run_id, "FAILED" if trial.state == "failed" else "FINISHED")


def table(outcome: SearchOutcome) -> str:
    """The trials as a Markdown table, the best first."""
    names = list(outcome.best_trial.values)
    rows = [
        f"| {trial.number} | {trial.state} | {len(trial.validation_losses)} | "
        + (f"{trial.validation_losses[-1]:.4f}" if trial.validation_losses else "-")
        + f" | {trial.cost:.4g} | "
        + " | ".join(_words(trial.values[name]) for name in names)
        + " |"
        for trial in sorted(outcome.trials, key=lambda trial: (trial.number != outcome.best, _loss(trial)))
    ]
    head = ["trial", "state", "epochs", "held-out loss", "cost", *names]
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *rows])


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the plot: where each trial crosses it, from 0 to 1 by number, and what its ends are."""

    name: str
    places: Mapping[int, float]
    low: str
    high: str


def parallel(search: Search, outcome: SearchOutcome) -> bytes:
    """An SVG of parallel axes: a line for each trial through its values to its loss; the best in colour."""
    axes = [_axis(search.space[name], name, outcome) for name in search.space]
    losses = {trial.number: loss for trial in outcome.trials if math.isfinite(loss := _loss(trial))}
    axes.append(_numbers("held-out loss", losses, logarithmic=min(losses.values()) > 0))
    bottom = _TOP + _HEIGHT
    parts = [svg.words(12, 18, f"{len(outcome.trials)} trials; the best is trial {outcome.best}", size=12)]
    for place, axis in enumerate(axes):
        x = _SIDE + _GAP * place
        parts += [
            svg.line([(x, _TOP), (x, bottom)], color=QUIET, width=0.8),
            svg.words(x, _TOP - 8, axis.high[:_LONGEST], size=8, anchor="middle"),
            svg.words(x, bottom + 12, axis.low[:_LONGEST], size=8, anchor="middle"),
            svg.words(x, bottom + 28, axis.name[-_LONGEST:], size=9, anchor="middle"),
        ]
    for trial in sorted(outcome.trials, key=lambda trial: trial.number == outcome.best):
        points = [
            (_SIDE + _GAP * place, bottom - _HEIGHT * axis.places.get(trial.number, math.nan))
            for place, axis in enumerate(axes)
        ]
        best = trial.number == outcome.best
        color = ACCENT if best else INK if trial.state == "finished" else QUIET
        parts.append(svg.line(points, color=color, width=2.2 if best else 1.0, dots=2.2))
    return svg.image(2 * _SIDE + _GAP * (len(axes) - 1), bottom + 40, parts)


def _axis(distribution: Distribution, name: str, outcome: SearchOutcome) -> Axis:
    values = {trial.number: trial.values[name] for trial in outcome.trials}
    if isinstance(distribution, Choice):
        # The recipe's own value may be another one than those to choose from.
        known = list(dict.fromkeys(map(_words, (*distribution.values, *values.values()))))
        places = {number: known.index(_words(value)) / (len(known) - 1) for number, value in values.items()}
        return Axis(name, places, known[0], known[-1])
    return _numbers(name, values, logarithmic=isinstance(distribution, LogUniform) and min(values.values()) > 0)


def _numbers(name: str, values: Mapping[int, float], *, logarithmic: bool) -> Axis:
    low, high = min(values.values()), max(values.values())
    scaled = {number: math.log(value) if logarithmic else value for number, value in values.items()}
    least, span = min(scaled.values()), (max(scaled.values()) - min(scaled.values())) or 1.0
    return Axis(name, {number: (value - least) / span for number, value in scaled.items()}, _words(low), _words(high))


def _loss(trial: Trial) -> float:
    """That of a trial's last epoch; infinite for one without an epoch, and a failed one."""
    return trial.validation_losses[-1] if trial.validation_losses and trial.state != "failed" else math.inf


def _words(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
