"""The program that docs/models.md shows is trained as it stands there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from deltalake import write_deltalake
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.models.answers import Estimate
from pipelines.models.program import BASELINE, CHALLENGER, Window
from ray_jobs.core import checkpoint_folder, contest, shard_writer
from ray_jobs.core.dataset import DatasetVersion, evaluation_rows, training_rows
from ray_jobs.core.loop import Job, Worker, run
from ray_jobs.core.program import Loss
from ray_jobs.core.recipe import TrainingRecipe
from ray_jobs.tabular import metrics_regression
from ray_jobs.tabular.metrics_regression import Estimates
from ray_jobs.tabular.regression import half_width

START = datetime(2026, 1, 1, tzinfo=UTC)
DOCS = Path(__file__).parents[3] / "docs" / "models.md"
#: What the program's module imports.
IMPORTS = {
    "json": json, "np": np, "pa": pa, "torch": torch, "nn": nn, "metrics_regression": metrics_regression,
    **{thing.__name__: thing for thing in (dataclass, load_file, save_file, Estimate, Loss, TrainingRecipe, Estimates)},
    "half_width": half_width, "BASELINE": BASELINE,
}  # fmt: skip


def _documented() -> SimpleNamespace:
    """The definitions of the program in the docs."""
    block = re.search(r"```python\n(# ray_jobs/line/program\.py.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    definitions: dict[str, Any] = {**IMPORTS, "__name__": __name__}
    exec(compile(block[1], str(DOCS), "exec"), definitions)
    return SimpleNamespace(**definitions)


def _table(folder: Path) -> DatasetVersion:
    """100 days of 20 rows: y is 3 a - b, and some noise."""
    random, n = np.random.default_rng(1), 2000
    a, b = random.standard_normal((2, n))
    at = pa.array([START + timedelta(hours=1.2 * i) for i in range(n)], pa.timestamp("us", tz="UTC"))
    y = 3 * a - b + 0.1 * random.standard_normal(n)
    write_deltalake(str(folder), pa.table({"row": [f"r{i:04d}" for i in range(n)], "at": at, "a": a, "b": b, "y": y}))
    return DatasetVersion(str(folder), 0)


def test_the_program_in_the_docs_trains_and_beats_its_baseline(tmp_path: Path) -> None:
    documented, table = _documented(), _table(tmp_path / "table")
    recipe = documented.LineRecipe(
        model_name="line", task="regression", label="y", row_key="row", time_column="at", known_at_column="at",
        numbers=("a", "b"), epochs=2, learning_rate=0.05,
        train_window=Window(START, START + timedelta(days=80)),
        gate_window=Window(START + timedelta(days=80), START + timedelta(days=100)),
    )  # fmt: skip
    program = documented.Line.fitted(recipe, training_rows(table, recipe, "fit"), None)
    fit, holdout = (shard_writer.write(program, table, recipe, part, tmp_path / part) for part in ("fit", "holdout"))
    run(Job(program, recipe, fit, holdout, tmp_path), Worker(0, 1, torch.device("cpu")))
    network = program.network()
    checkpoint_folder.complete(tmp_path)[-1].load_weights(network)
    program.trained(network, training_rows(table, recipe, "holdout")).save(tmp_path / "model")
    model = documented.load(tmp_path / "model")
    rows = evaluation_rows(table, recipe, recipe.gate_window)
    contenders = {CHALLENGER: model, **program.baselines(training_rows(table, recipe, "all"))}
    evaluations = contest.evaluate(rows, contenders, measure=model.evaluate)
    assert evaluations[CHALLENGER].metrics["rmse"] < evaluations[BASELINE].metrics["rmse"]
    assert evaluations[CHALLENGER].metrics["coverage"] > 0.8
    answer = model.answer({"a": [1.0], "b": [2.0]})[0]
    assert answer.low < answer.value < answer.high
