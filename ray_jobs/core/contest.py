"""Comparing models: all contenders answer the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from pipelines.models.program import Evaluation
from ray_jobs.core.dataset import Columns, Rows

#: Evaluates predictions of rows against their labels [rows]: `measure(labels, predictions)`.
Measure = Callable[[NDArray[Any], Any], Evaluation]


class Contender(Protocol):
    """A model that answers rows with predictions, of the type that the measure takes."""

    def predict(self, rows: Columns) -> Any: ...


def contest(rows: Rows, contenders: Mapping[str, Contender], *, measure: Measure) -> dict[str, Evaluation]:
    """Evaluates every contender on the same rows; raises what `measure` raises."""
    return {name: measure(rows.labels, contender.predict(rows.columns)) for name, contender in contenders.items()}
