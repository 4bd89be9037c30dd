"""Comparing models: all contenders answer the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import Evaluation
from ray_jobs.core.dataset import Columns, Rows

#: Evaluates probabilities [rows] against labels [rows]: `measure(labels, probabilities)`.
Measure = Callable[[NDArray[np.floating], NDArray[np.floating]], Evaluation]


class Contender(Protocol):
    """A model that answers rows with the probability of label 1, [rows]."""

    def predict_proba(self, rows: Columns) -> NDArray[np.float64]: ...


def contest(rows: Rows, contenders: Mapping[str, Contender], *, measure: Measure) -> dict[str, Evaluation]:
    """Evaluates every contender on the same rows; raises what `measure` raises."""
    return {name: measure(rows.labels, contender.predict_proba(rows.columns)) for name, contender in contenders.items()}
