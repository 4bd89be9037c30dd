"""Bounds that hold at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rollout.sequential import FEWEST, Mean, rate


@given(hits=st.integers(0, 400), misses=st.integers(0, 400), alpha=st.floats(1e-6, 0.5))
def test_the_bounds_of_a_rate_hold_the_rate_that_was_seen(hits: int, misses: int, alpha: float) -> None:
    bounds = rate(hits, hits + misses, alpha)
    seen = hits / (hits + misses) if hits + misses else 0.5
    assert 0 <= bounds.low <= seen <= bounds.high <= 1
    narrower = rate(hits, hits + misses, min(0.9, alpha * 2))
    assert bounds.low <= narrower.low + 1e-6
    assert narrower.high <= bounds.high + 1e-6


@pytest.mark.parametrize("probability", [0.002, 0.05, 0.5])
def test_the_bounds_of_a_rate_hold_at_all_looks_together(probability: float) -> None:
    random, missed, runs = np.random.default_rng(5), 0, 400
    for _ in range(runs):
        hits = np.cumsum(random.random(2_000) < probability)
        looks = [rate(int(hits[n - 1]), n, 0.1) for n in (1, 3, 10, 30, 100, 300, 600, 1_000, 1_500, 2_000)]
        missed += any(not look.low <= probability <= look.high for look in looks)
    assert missed / runs <= 0.1


def test_the_bounds_of_a_difference_of_means_hold_at_all_looks_together() -> None:
    random, missed, runs = np.random.default_rng(6), 0, 400
    for _ in range(runs):
        one, other, found = Mean(), Mean(), False
        for _ in range(20):
            one.add(random.beta(0.3, 1.0, 100).tolist())
            other.add(random.beta(0.3, 1.0, 30).tolist())
            bounds = one.minus(other, 0.1)
            found = found or not bounds.low <= 0 <= bounds.high
        missed += found
    assert missed / runs <= 0.1


def test_a_difference_of_means_is_found_and_its_bounds_become_narrow() -> None:
    random, one, other = np.random.default_rng(7), Mean(), Mean()
    one.add(random.normal(0.3, 0.2, 2_000).tolist())
    other.add(random.normal(0.2, 0.2, 2_000).tolist())
    bounds = one.minus(other, 0.01)
    assert 0.06 < bounds.low < 0.1 < bounds.high < 0.14


def test_few_or_equal_values_prove_nothing() -> None:
    few, other = Mean(), Mean()
    few.add([1.0] * (FEWEST - 1))
    other.add([0.0] * 1_000)
    assert few.minus(other, 0.05).low == -math.inf
    same = Mean()
    same.add([0.5] * FEWEST)
    assert same.bounds(0.05).low < 0.45
