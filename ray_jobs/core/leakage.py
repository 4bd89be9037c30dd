"""Guards against leakage, before a model is trained: what is on both sides of a comparison, what knows the label.

Times are on one side each by the windows; these guards look at keys, at entities and at inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from pipelines.models.answers import Task
from pipelines.models.judgement import Gate, SingleInput
from pipelines.models.program import Part
from ray_jobs.core.dataset import DatasetVersion, Rows, Selection, evaluation_columns, training_columns
from ray_jobs.core.errors import DatasetError
from ray_jobs.core.sample import sampled_rows
from ray_jobs.core.scores import AreaUnderRoc

#: How well one input alone may tell the label; see `_skill`.
MOST = {"binary": 0.98, "multiclass": 0.98, "regression": 0.99}
ROWS = 50_000
BINS = 64
#: Labels of a multiclass model that are looked at, the most frequent ones.
LABELS = 20
SHOWN = 5
#: An input is known only with the label if it is filled in so few rows without a label, and in so many with one.
FEWEST_WITHOUT_LABEL, FILLED_BEFORE, FILLED_AFTER = 30, 0.01, 0.5


class Inputs(Selection, Protocol):
    """What a recipe says about the rows to read, and which columns the model reads."""

    @property
    def task(self) -> Task: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...


def require_none(table: DatasetVersion, recipe: Inputs, window: Part, gate: Gate) -> tuple[SingleInput, ...]:
    """Looks for leakage between training rows and the rows of a window.

    Returns:
        How well each of the five strongest inputs tells the label alone.

    Raises:
        DatasetError: if a row's key, or a value of a column that the gate keeps apart, is on both sides; if an input
            tells the label nearly alone, or is filled only in rows whose label is known; and for absent columns.
    """
    _require_apart(table, recipe, window, (recipe.row_key, *gate.apart))
    # The column that stands for the answer of a regression is known by declaration.
    trusted = {*gate.known_inputs, getattr(recipe, "baseline_column", None)}
    inputs = [name for name in recipe.inputs if name not in trusted]
    _require_known_before_label(table, recipe, inputs)
    if recipe.task not in MOST:
        return ()
    rows = sampled_rows(table, recipe, "all", at_most=ROWS)
    if recipe.task == "regression" and rows.labels.dtype == object:
        return ()  # texts are no labels of a regression: the program says so
    skills = sorted(((name, _skill(rows, name, recipe.task)) for name in inputs), key=lambda pair: -pair[1])
    knowing = [f"{name} ({skill:.4f})" for name, skill in skills if skill >= MOST[recipe.task]]
    if knowing:
        raise _leak(
            recipe,
            f"{', '.join(knowing)} alone tells the label {recipe.label}",
            f"less than {MOST[recipe.task]} ({'explained variance' if recipe.task == 'regression' else 'AUC'}) for one "
            "input: a column that is computed from the outcome, or known after it, does so",
        )
    return tuple(SingleInput(name, skill) for name, skill in skills[:SHOWN])


def _require_apart(table: DatasetVersion, recipe: Inputs, window: Part, names: Sequence[str]) -> None:
    compared = evaluation_columns(table, recipe, window, names)
    compared_values = {name: compared.column(name).unique().drop_null() for name in names}
    for part in training_columns(table, recipe, names):
        for name, values in compared_values.items():
            shared = part.filter(ds.field(name).isin(values)).column(name).unique().to_pylist()
            if shared:
                raise DatasetError(
                    object=f"training set of {recipe.model_name}",
                    observed=f"{name} {', '.join(map(str, shared[:3]))} in {recipe.train_window} and in {window}",
                    expected="values that are on one side, training or comparison",
                    next_step="split the rows by this column with a Fold"
                    if name != recipe.row_key
                    else "give each row a key of its own in the training set",
                )


def _require_known_before_label(table: DatasetVersion, recipe: Inputs, inputs: Sequence[str]) -> None:
    """Raises DatasetError for an input that is null until the label is known."""
    before, unlabelled = _filled(table, recipe, inputs, labelled=False)
    if unlabelled < FEWEST_WITHOUT_LABEL:
        return
    after, _ = _filled(table, recipe, inputs, labelled=True)
    later = [name for name, b, a in zip(inputs, before, after, strict=True) if b <= FILLED_BEFORE and a >= FILLED_AFTER]
    if later:
        raise _leak(
            recipe,
            f"{', '.join(later)} is null in the {unlabelled:,} rows without a label, and filled in those with one",
            "inputs that are known when the model is asked",
        )


def _filled(
    table: DatasetVersion, recipe: Inputs, inputs: Sequence[str], *, labelled: bool
) -> tuple[NDArray[np.float64], int]:
    """The share of rows in which each input is filled, and the number of rows."""
    filled, rows = np.zeros(len(inputs)), 0
    for part in training_columns(table, recipe, inputs, labelled=labelled):
        rows += part.num_rows
        filled += [part.num_rows - part.column(name).null_count for name in inputs]
    return filled / max(rows, 1), rows


def _leak(recipe: Inputs, observed: str, expected: str) -> DatasetError:
    return DatasetError(
        object=f"training set of {recipe.model_name}",
        observed=observed,
        expected=expected,
        next_step="leave the column out of the recipe; if it is known when the model is asked, name it in the gate's "
        "`known_inputs`",
    )


def _skill(rows: Rows, name: str, task: Task) -> float:
    """How well a column alone tells the label of rows that its rule was not fitted on.

    Binary: the area under the ROC curve. Multiclass: its mean over labels against the others, weighted by their rows.
    Regression: the explained share of the variance, by the column's bins, its value or its rank.
    """
    bins, labels = _bins(rows.columns[name]), rows.labels
    if task == "regression":
        return _explained(rows.columns[name], bins, labels)
    values, counts = np.unique(labels, return_counts=True)
    if task == "binary":
        return _auc(bins, (labels == values[-1]).astype(np.float64))
    frequent = counts.argsort()[::-1][:LABELS]
    aucs = [_auc(bins, (labels == values[place]).astype(np.float64)) for place in frequent]
    return float(np.average(aucs, weights=counts[frequent]))


def _auc(bins: NDArray[np.intp], labels: NDArray[np.float64]) -> float:
    auc = AreaUnderRoc(labels, _of_other_half(bins, labels))(np.ones((1, len(labels))))[0]
    return 0.5 if np.isnan(auc) else float(auc)


def _explained(column: NDArray[Any], bins: NDArray[np.intp], labels: NDArray[np.float64]) -> float:
    variance = labels.var()
    if not variance:
        return 0.0
    explained = 1 - ((labels - _of_other_half(bins, labels)) ** 2).mean() / variance
    if column.dtype == object:
        return float(explained)
    present = ~np.isnan(column)
    if not present.mean() > FILLED_AFTER:
        return float(explained)
    from scipy.stats import rankdata

    pairs = [(column[present], labels[present]), (rankdata(column[present]), rankdata(labels[present]))]
    squares = [float(np.corrcoef(*pair)[0, 1] ** 2) for pair in pairs if pair[0].std() and pair[1].std()]
    return float(max(explained, *squares)) if squares else float(explained)


def _of_other_half(bins: NDArray[np.intp], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean label of a row's bin among the rows of the other half; the mean of all where it has none there."""
    half = np.random.default_rng(0).permutation(len(labels)) % 2
    told = np.empty(len(labels))
    for side in (0, 1):
        other = half != side
        size = int(bins.max()) + 1
        # One row with the mean label stands in each bin.
        sums = np.bincount(bins[other], labels[other], size) + labels.mean()
        told[~other] = (sums / (np.bincount(bins[other], minlength=size) + 1))[bins[~other]]
    return told


def _bins(column: NDArray[Any]) -> NDArray[np.intp]:
    """The number of each row's bin: of a text its value, of a number one of 64 quantiles; a null has its own."""
    if column.dtype == object:
        codes = pa.array(column).dictionary_encode(null_encoding="encode").indices
        return codes.to_numpy(zero_copy_only=False).astype(np.intp)
    null = np.isnan(column)
    if null.all():
        return np.zeros(len(column), dtype=np.intp)
    edges = np.unique(np.quantile(column[~null], np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.where(null, len(edges) + 1, np.searchsorted(edges, column, side="right"))
