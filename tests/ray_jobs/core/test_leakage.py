"""Leakage is refused before training: rows or entities on both sides, inputs that know the label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.models.judgement import Gate
from pipelines.models.program import Fold
from ray_jobs.core import leakage
from ray_jobs.core.dataset import DatasetVersion
from ray_jobs.core.errors import DatasetError
from ray_jobs.tabular.recipe import Recipe
from tests.ray_jobs.tabular.made_up import DAYS, REGRESSION, ROWS_PER_DAY, made_up_table, multiclass

Guard = Callable[..., tuple[Any, ...]]
N = DAYS * ROWS_PER_DAY
BINARY = replace(
    REGRESSION, model_name="warm", task="binary", label="warm", interval_level=None, baseline_column=None,
    numeric=("now", "hour"),
)  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The made-up rows, with a binary label, `warm`, that is not known for every seventh row."""
    table = DeltaTable(made_up_table(tmp_path_factory.mktemp("made_up")).uri).to_pyarrow_table()
    warm = np.asarray(table["later"]) > 15
    unknown = np.arange(N) % 7 == 0
    return table.append_column("warm", pa.array([None if u else float(w) for u, w in zip(unknown, warm, strict=True)]))


@pytest.fixture
def guard(rows: pa.Table, tmp_path: Path) -> Guard:
    """Looks for leakage in the made-up rows with further columns."""

    def run(recipe: Recipe, gate: Gate | None = None, **columns: Any) -> tuple[Any, ...]:
        table = rows
        for name, values in columns.items():
            own = pa.array(values)
            place = table.schema.get_field_index(name)
            table = table.append_column(name, own) if place < 0 else table.set_column(place, name, own)
        write_deltalake(str(tmp_path), table, mode="overwrite", schema_mode="overwrite")
        version = DeltaTable(str(tmp_path)).version()
        return leakage.require_none(DatasetVersion(str(tmp_path), version), recipe, recipe.gate_window, gate or Gate())

    return run


@pytest.mark.parametrize("recipe", [REGRESSION, BINARY, multiclass()], ids=["regression", "binary", "multiclass"])
def test_honest_inputs_are_shown_with_what_each_tells_alone(recipe: Recipe, guard: Guard) -> None:
    told = guard(recipe)
    trusted = {recipe.baseline_column}
    assert {each.name for each in told} == {*recipe.inputs} - trusted
    assert all(each.skill < 0.97 for each in told)
    assert [each.skill for each in told] == sorted((each.skill for each in told), reverse=True)


def _copy(labels: np.ndarray) -> Any:
    return labels


def _negated_and_rough(labels: np.ndarray) -> Any:
    return -np.round(labels, 1) + 3


def _stretched(labels: np.ndarray) -> Any:
    return np.exp(labels / 4)


@pytest.mark.parametrize("leak", [_copy, _negated_and_rough, _stretched])
def test_a_number_that_tells_a_regressions_label_is_refused(
    leak: Callable[[np.ndarray], Any], guard: Guard, rows: pa.Table
) -> None:
    recipe = replace(REGRESSION, numeric=("hour", "told"))
    with pytest.raises(DatasetError, match=r"told \((0\.99\d\d|1\.0000)\) alone tells the label later"):
        guard(recipe, told=leak(np.asarray(rows["later"])))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (lambda warm: np.where(warm, 3.0, 1.0), "numeric"),
        (lambda warm: [None if w else 1.0 for w in warm], "numeric"),
        (lambda warm: np.where(warm, np.where(np.arange(N) % 2, -5.0, 5.0), 0.0), "numeric"),
        (lambda warm: ["refunded" if w else "" for w in warm], "categorical"),
        (lambda warm: [f"code {i % 9}" if w else f"code {9 + i % 9}" for i, w in enumerate(warm)], "categorical"),
        (lambda warm: [w if i % 60 else not w for i, w in enumerate(warm.tolist())], "numeric"),
    ],
    ids=["number", "null tells", "not monotone", "text", "many texts", "boolean with mistakes"],
)
def test_a_column_that_tells_a_binary_label_is_refused_in_every_form(
    column: Callable[[np.ndarray], Any], kind: str, guard: Guard, rows: pa.Table
) -> None:
    warm = np.asarray(rows["later"]) > 15
    recipe = replace(BINARY, **{kind: (*getattr(BINARY, kind), "told")})
    with pytest.raises(DatasetError, match=r"told \((0\.9[89]|1\.0).*`known_inputs`"):
        guard(recipe, told=column(warm))
    told = guard(recipe, Gate(known_inputs=("told",)), told=column(warm))
    assert "told" not in {each.name for each in told}


def test_an_id_of_each_row_tells_nothing(guard: Guard) -> None:
    (most, *_) = guard(replace(BINARY, numeric=(), categorical=("row",)))
    assert most.skill == pytest.approx(0.5, abs=0.05)


def test_a_column_that_tells_a_label_of_many_is_refused(guard: Guard, rows: pa.Table) -> None:
    kinds = rows["kind"].to_pylist()
    with pytest.raises(DatasetError, match=r"told \((0\.99|1\.0).*alone tells the label kind"):
        guard(multiclass(categorical=("told",)), told=[f"{kind}!" for kind in kinds])


def test_an_input_that_is_filled_with_the_label_is_known_later(guard: Guard, rows: pa.Table) -> None:
    refund = [None if warm is None else float(i % 5) for i, warm in enumerate(rows["warm"].to_pylist())]
    recipe = replace(BINARY, numeric=("now", "hour", "refund"))
    with pytest.raises(DatasetError, match=r"refund is null in the \d+ rows without a label, and filled in those with"):
        guard(recipe, refund=refund)
    assert guard(recipe, Gate(known_inputs=("refund",)), refund=refund)
    assert guard(recipe, refund=[float(i % 5) for i in range(N)])


@pytest.mark.parametrize("late", [0, 1])
def test_a_row_key_on_both_sides_is_refused(late: int, guard: Guard) -> None:
    keys = [f"r{i:05d}" for i in range(N)]
    keys[-1 - late] = keys[5]
    with pytest.raises(DatasetError, match=r"row r00005 in \[2026-01-01.*give each row a key of its own"):
        guard(BINARY, row=keys)


def test_an_entity_on_both_sides_is_refused_where_the_gate_keeps_it_apart(guard: Guard) -> None:
    patients = [i // 100 for i in range(N)]
    patients[-1] = 0
    assert guard(BINARY, patient=patients)
    with pytest.raises(DatasetError, match=r"patient 0 in .*on one side.*split the rows by this column with a Fold"):
        guard(BINARY, Gate(apart=("patient",)), patient=patients)
    patients[-1] = N
    assert guard(BINARY, Gate(apart=("patient",)), patient=[None if i % 9 == 0 else p for i, p in enumerate(patients)])


def test_folds_keep_entities_apart_and_a_leak_through_the_holdout_is_seen(guard: Guard) -> None:
    folds = [("train", "holdout", "gate")[i % 3] for i in range(N)]
    recipe = replace(
        BINARY, time_column=None, known_at_column=None, train_window=Fold("fold", ("train",), ("holdout",)),
        gate_window=Fold("fold", ("gate",)),
    )  # fmt: skip
    assert guard(recipe, Gate(apart=("group",)), fold=folds, group=[i % 3 for i in range(N)])
    groups = [min(i % 3, 1) for i in range(N)]  # of the holdout and of the gate
    with pytest.raises(DatasetError, match="group 1 in fold train, held out holdout and in fold gate"):
        guard(recipe, Gate(apart=("group",)), fold=folds, group=groups)
