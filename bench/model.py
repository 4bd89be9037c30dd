"""The reference split: trained on January to September, tested on October to December.

Reference from elsewhere: gradient boosting on what is known two hours before departure, AUC 0.714, average precision
0.476, log loss 0.482. Gradient boosting is also fitted on our features here, which separates the effect of the model
from the effect of the features.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from bench.pairs import Row
from pipelines.machine import ray_connection
from pipelines.settings import Settings

REFERENCE = {"auc": 0.714, "average_precision": 0.476, "log_loss": 0.482}


def measure(settings: Settings) -> list[Row]:
    """Trains our model and the two peers on a year in a home folder of its own, and compares them."""
    home = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    try:
        uri, version = _training_set(settings.model_copy(update={"home": home, "lakehouse_uri": None}))
        return _contest(settings.model_copy(update={"home": home}), uri, version)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _training_set(settings: Settings) -> tuple[str, int]:
    """Ingests the whole year and builds its training set."""
    from assets.flights import deliveries
    from assets.weather.deliveries import land as land_weather
    from pipelines.definitions import all_contracts, defs
    from pipelines.governed.platform import Platform
    from pipelines.tables import TableId

    platform = Platform(settings, all_contracts)
    first, last = date(2013, 1, 1), date(2013, 12, 31)
    land_weather(platform.landing, start=first, end=last)
    deliveries.land(platform.landing, start=first, end=last, database=settings.root / "operations.db")
    tags = {"dagster/asset_partition_range_start": "2013-01-01", "dagster/asset_partition_range_end": "2013-12-31"}
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        for job in ("weather_ingest", "flights_ingest", "flights_features"):
            resources = {"platform": platform}
            days = tags if job.endswith("_ingest") else None
            defs.resolve_job_def(job).execute_in_process(
                instance=instance, tags=days, run_config=quiet, resources=resources
            )
    table = TableId("gold", "flights", "training_set")
    at = platform.lakehouse.current(table)
    platform.close()
    return str(platform.lakehouse.path(table)), at.version


def _contest(settings: Settings, uri: str, version: int) -> list[Row]:
    with ray_connection.connect(settings):
        from assets.flights.recipe import arrival_delay
        from pipelines.models.program import Window
        from ray_jobs.core.contest import Contender, evaluate
        from ray_jobs.core.dataset import DatasetVersion, evaluation_rows, training_rows
        from ray_jobs.core.train import train
        from ray_jobs.tabular.baseline import fit_baselines
        from ray_jobs.tabular.metrics_binary import evaluate as measure
        from ray_jobs.tabular.model import TabularModel
        from ray_jobs.tabular.program import Tabular

        recipe = arrival_delay()
        gate = recipe.gate_window
        assert isinstance(gate, Window)
        test = Window(gate.start, datetime(2014, 1, 1, tzinfo=UTC))
        recipe = dataclasses.replace(recipe, gate_window=test)
        table = DatasetVersion(uri, version)
        folder = settings.root / "model"
        result = train(
            Tabular,
            recipe,
            table=table,
            storage_path=str(settings.root / "runs"),
            run_name="reference",
            model_dir=folder,
        )  # fmt: skip
        contenders: dict[str, Contender] = {
            "model": TabularModel.load(folder),
            "logistic regression": fit_baselines(recipe, training_rows(table, recipe, "all"))["baseline"],
            "gradient boosting": _Boosting(recipe, training_rows(table, recipe, "all")),
        }
        evaluations = evaluate(evaluation_rows(table, recipe, test), contenders, measure=measure)
    reference = ", ".join(f"{value:.3f}" for value in REFERENCE.values())
    rows = []
    for name, evaluation in evaluations.items():
        metrics = evaluation.metrics
        values = ", ".join(f"{metric} {metrics[metric]:.3f}" for metric in REFERENCE)
        note = f"{result.rows:,} rows, {result.seconds:.0f} s" if name == "model" else ""
        rows.append(Row(f"Jan-Sep to Oct-Dec: {name}", values, reference, metrics["auc"] / REFERENCE["auc"], note))
    return rows


class _Boosting:
    """scikit-learn's histogram gradient boosting on the raw columns, with 150 iterations and defaults otherwise."""

    def __init__(self, recipe: Any, rows: Any) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        self.recipe = recipe
        self.levels = {name: sorted({v for v in rows.columns[name] if v}) for name in recipe.categorical}
        categorical = [position < len(recipe.categorical) for position in range(len(recipe.inputs))]
        self.model = HistGradientBoostingClassifier(max_iter=150, categorical_features=categorical, random_state=0)
        self.model.fit(self._matrix(rows.columns), rows.labels)

    def _matrix(self, columns: Any) -> Any:
        import numpy as np

        ids = {name: {v: i for i, v in enumerate(levels)} for name, levels in self.levels.items()}
        return np.column_stack(
            [
                np.array([ids[name].get(v, np.nan) for v in columns[name]])
                if name in ids
                else columns[name].astype(float)
                for name in self.recipe.inputs
            ]
        )

    def predict(self, rows: Any) -> Any:
        return self.model.predict_proba(self._matrix(rows))[:, 1]
