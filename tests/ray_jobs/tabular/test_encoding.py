"""A row is encoded the same in training and alone; what can't be encoded raises an error."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ModelError
from ray_jobs.core.dataset import DatasetVersion, Rows, training_rows
from ray_jobs.tabular.encoding import CLIP, RANK_SPREAD, Encoder, NumericScale
from ray_jobs.tabular.recipe import Recipe


@pytest.fixture(scope="module")
def rows(table: DatasetVersion, recipe: Recipe) -> Rows:
    return training_rows(table, recipe, "fit")


@pytest.fixture(scope="module")
def encoder(rows: Rows, recipe: Recipe) -> Encoder:
    return Encoder.fit(rows.columns, recipe)


def _pick(rows: Rows, places: Any) -> dict[str, Any]:
    return {name: column[places] for name, column in rows.columns.items()}


@given(places=st.lists(st.integers(0, 5000), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_a_row_is_encoded_the_same_among_any_other_rows(rows: Rows, encoder: Encoder, places: list[int]) -> None:
    every_row, picked = encoder.encode(rows.columns), encoder.encode(_pick(rows, places))
    assert np.array_equal(picked.numbers, every_row.numbers[places])
    assert np.array_equal(picked.categories, every_row.categories[places])


def test_plain_python_values_are_encoded_like_arrays(rows: Rows, encoder: Encoder) -> None:
    plain = {name: [None if v != v else v for v in column[:50].tolist()] for name, column in rows.columns.items()}
    assert np.array_equal(encoder.encode(plain).numbers, encoder.encode(rows.columns).numbers[:50])
    assert np.array_equal(encoder.encode(plain).categories, encoder.encode(rows.columns).categories[:50])


def test_an_encoder_from_json_encodes_the_same(rows: Rows, encoder: Encoder) -> None:
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert np.array_equal(again.encode(rows.columns).numbers, encoder.encode(rows.columns).numbers)
    assert np.array_equal(again.encode(rows.columns).categories, encoder.encode(rows.columns).categories)


@pytest.mark.parametrize("value", [None, "", "ZZ", "ua"])
def test_a_category_that_is_not_in_the_training_rows_gets_the_id_0(
    rows: Rows, encoder: Encoder, value: str | None
) -> None:
    row = _pick(rows, [0]) | {"carrier": [value]}
    assert encoder.encode(row).categories[0, 0] == 0


def test_a_rare_category_is_not_in_the_vocabulary(rows: Rows, recipe: Recipe) -> None:
    counts = dict(zip(*np.unique(rows.columns["carrier"].astype(str), return_counts=True), strict=True))
    known = Encoder.fit(rows.columns, replace(recipe, minimum_category_count=500)).vocabularies["carrier"]
    assert set(known) == {carrier for carrier, count in counts.items() if count >= 500}
    assert set(known) < set(counts)


@pytest.mark.parametrize("missing", [[None], [float("nan")], None])
def test_a_missing_number_sets_its_mark_and_zeroes_its_score_and_rank(
    rows: Rows, encoder: Encoder, missing: list | None
) -> None:
    count = len(encoder.scales)
    number = encoder.encode(_pick(rows, [0]) | {"distance": missing}).numbers[0]
    place = [scale.name for scale in encoder.scales].index("distance")
    assert number[[place, count + place, 2 * count + place]].tolist() == [0.0, 0.0, 1.0]


def test_a_difference_with_a_missing_side_is_missing(rows: Rows, encoder: Encoder) -> None:
    number = encoder.encode(_pick(rows, [0]) | {"arrival_minute": None}).numbers[0]
    assert number[-1] == 1.0


def test_a_difference_is_clipped(rows: Rows, encoder: Encoder) -> None:
    far, farther = (encoder.encode(_pick(rows, [0]) | {"arrival_minute": [m]}).numbers for m in (9_000, 90_000))
    assert np.array_equal(far, farther)


def test_scores_are_standard_and_ranks_uniform(rows: Rows, encoder: Encoder) -> None:
    numbers = encoder.encode(rows.columns).numbers
    place = [scale.name for scale in encoder.scales].index("departure_minute")
    score, rank = numbers[:, place], numbers[:, len(encoder.scales) + place]
    assert abs(score.mean()) < 1e-3
    assert score.std() == pytest.approx(1, abs=1e-3)
    assert rank.std() == pytest.approx(1, abs=0.05)
    assert np.abs(numbers).max() <= CLIP


def test_values_outside_the_training_range_get_the_lowest_or_highest_rank() -> None:
    scale = NumericScale.fit("x", np.arange(100.0))
    encoder = Encoder({}, [scale], [])
    ranks = encoder.encode({"x": [-1e12, 1e12]}).numbers[:, 1]
    assert ranks == pytest.approx([-RANK_SPREAD, RANK_SPREAD])


@pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [float("nan")] * 3])
def test_a_constant_or_empty_column_is_encoded_as_zero(values: list[float]) -> None:
    encoder = Encoder({}, [NumericScale.fit("x", np.array(values))], [])
    assert encoder.encode({"x": values}).numbers[:, :2].tolist() == [[0.0, 0.0]] * 3


def test_no_rows_are_encoded_as_no_rows(rows: Rows, encoder: Encoder) -> None:
    assert len(encoder.encode(_pick(rows, slice(0)))) == 0


def test_an_absent_column_raises_an_error_with_its_name(rows: Rows, encoder: Encoder) -> None:
    row = _pick(rows, [0])
    del row["distance"]
    with pytest.raises(ModelError, match="distance"):
        encoder.encode(row)


@pytest.mark.parametrize("value", [float("inf"), "far", [1.0]])
def test_a_value_that_is_not_a_finite_number_raises_an_error_with_its_column(
    rows: Rows, encoder: Encoder, value: object
) -> None:
    with pytest.raises(ModelError, match="distance"):
        encoder.encode(_pick(rows, [0]) | {"distance": [value]})


def test_columns_of_different_lengths_raise_an_error(rows: Rows, encoder: Encoder) -> None:
    with pytest.raises(ModelError, match="lengths"):
        encoder.encode(_pick(rows, [0, 1]) | {"distance": [1.0]})
