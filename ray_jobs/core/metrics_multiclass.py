"""How good the probabilities of several labels are: metrics, and what the plots are drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import Evaluation
from ray_jobs.core.errors import MetricError
from ray_jobs.core.scores import Mean, MeanOfGroups, measured

#: The labels that plots show: the most frequent ones; the rest are one of them.
LABELS_SHOWN = 20
OTHERS = "(others)"
#: The probability that stands for 0 in the logarithmic loss: a label that the model does not know costs about 36.
SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class LabelProbabilities:
    """Predicted probabilities [rows, labels]; each row adds up to 1."""

    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]


def evaluate(labels: Sequence[str] | NDArray[np.object_], predictions: LabelProbabilities) -> Evaluation:
    """All metrics and the data of the plots.

    A label that the model does not know has the probability 0; such a row is not left out.

    Args:
        labels: The true label of each row.
        predictions: The predictions of the same rows.

    Raises:
        MetricError: if there are no rows, only one label, or a value that is no probability.
    """
    from sklearn.metrics import recall_score

    actual = _checked(labels, predictions)
    places = {label: place for place, label in enumerate(predictions.labels)}
    columns = np.array([places.get(label, -1) for label in actual])
    of_actual = np.where(columns < 0, 0.0, predictions.probabilities[np.arange(len(actual)), columns])
    predicted = np.array(predictions.labels, dtype=object)[predictions.probabilities.argmax(axis=1)]
    present = sorted(set(actual))
    recalls = recall_score(actual, predicted, labels=present, average=None, zero_division=0.0)
    hits = (np.array(actual, dtype=object) == predicted).astype(np.float64)
    scores = {
        "log_loss": Mean(-np.log(np.clip(of_actual, SMALLEST, None))),
        "accuracy": Mean(hits),
        "mean_recall": MeanOfGroups(hits, np.searchsorted(present, actual)),
    }
    return Evaluation(
        metrics=measured(scores, len(actual)) | {"labels": float(len(present))},
        scores=scores,
        figures={
            "confusion": _confusion(actual, predicted),
            "recall": dict(zip(present, map(float, recalls), strict=True)),
        },
    )


def _confusion(actual: list[str], predicted: NDArray[np.object_]) -> dict[str, object]:
    """The counts of rows by true label (first index) and predicted label, of the most frequent labels."""
    from sklearn.metrics import confusion_matrix

    counts = Counter([*actual, *predicted])
    shown = sorted(label for label, _ in counts.most_common(LABELS_SHOWN))
    labels = [*shown, OTHERS] if len(counts) > len(shown) else shown
    known = set(shown)
    pairs = ([label if label in known else OTHERS for label in side] for side in (actual, predicted))
    return {"labels": labels, "counts": confusion_matrix(*pairs, labels=labels).tolist()}


def _checked(labels: Sequence[str] | NDArray[np.object_], predictions: LabelProbabilities) -> list[str]:
    actual, p = list(labels), predictions.probabilities
    problem = None
    if p.shape != (len(actual), len(predictions.labels)) or not actual:
        problem = f"{len(actual)} labels and probabilities of shape {p.shape}"
    elif not ((p >= 0) & (p <= 1)).all():
        problem = f"{int((~((p >= 0) & (p <= 1))).sum())} values that are no probability"
    elif len(set(actual)) == 1:
        problem = f"only label {actual[0]!r} in {len(actual)} rows"
    if problem:
        raise MetricError(
            object="metrics",
            observed=problem,
            expected="rows of at least two labels, and probabilities for each row",
            next_step="evaluate a longer window, or find out why the model gives no probability",
        )
    return actual
