"""All contenders on one window: the challenger, the baseline and the champion, row by row the same flights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ray_jobs.core.dataset import TableVersion, evaluation_rows
from ray_jobs.tabular.encoding import Columns
from ray_jobs.tabular.evaluate import CalibrationBin, Metrics, RocPoint, calibration_bins, metrics, roc_curve
from ray_jobs.tabular.recipe import Recipe, Window


class Contender(Protocol):
    """Whatever answers rows with the probability of label 1, [rows]."""

    def predict_proba(self, rows: Columns) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """One contender's figures and the points of its plots."""

    metrics: Metrics
    roc: tuple[RocPoint, ...]
    calibration: tuple[CalibrationBin, ...]


def contest(
    recipe: Recipe, *, table: TableVersion, window: Window, contenders: Mapping[str, Contender]
) -> dict[str, Standing]:
    """Measures every contender on the labelled rows of a window.

    Raises:
        DatasetError: if the window has no labelled row.
        MetricError: if it has only one class.
    """
    rows = evaluation_rows(table, recipe, window)
    standings = {}
    for name, contender in contenders.items():
        p = contender.predict_proba(rows.columns)
        standings[name] = Standing(
            metrics(rows.labels, p), tuple(roc_curve(rows.labels, p)), tuple(calibration_bins(rows.labels, p))
        )
    return standings
