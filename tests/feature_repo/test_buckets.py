"""The search in buckets against bisection, wherever the integers lie."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.buckets import Buckets

LEAST, MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
#: Dense, of one value, far apart, at both ends of what 64 bits hold.
INTEGERS = st.integers(-4, 12) | st.just(7) | st.integers(-(10**15), 10**15) | st.integers(LEAST, MOST)


@given(
    groups=st.lists(st.lists(INTEGERS, min_size=1, max_size=30).map(sorted), min_size=1, max_size=6),
    wanted=st.lists(INTEGERS, min_size=1, max_size=20),
)
def test_the_position_of_every_integer_in_every_group_is_that_of_bisection(
    groups: list[list[int]], wanted: list[int]
) -> None:
    numbers = np.repeat(np.arange(len(groups)), [len(values) for values in groups])
    buckets = Buckets.of(np.array([each for values in groups for each in values], np.int64), numbers, len(groups))
    starts = np.cumsum([0, *(len(values) for values in groups)])
    for number, values in enumerate(groups):
        asked = np.array([*wanted, *values], np.int64)
        start, position = buckets.positions(asked, np.full(len(asked), number))
        assert set(start.tolist()) == {int(starts[number])}
        assert (position - start).tolist() == [bisect_right(values, each) for each in asked.tolist()]


def test_no_value_is_not_greater_than_any_integer() -> None:
    buckets = Buckets.of(np.zeros(0, np.int64), np.zeros(0, np.int64), 1)
    assert buckets.positions(np.array([LEAST, 0, MOST]), 0)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("spread", ["even", "with one value far away"])
def test_a_bucket_holds_few_values_unless_they_crowd(spread: str) -> None:
    values = np.sort(np.random.default_rng(1).integers(0, 10**12, 100_000))
    if spread == "with one value far away":
        values[-1] = MOST
    buckets = Buckets.of(values, np.zeros_like(values), 1)
    assert buckets.first_step <= {"even": 8, "with one value far away": 1 << 16}[spread]
    assert len(buckets.firsts) <= 2 * len(values) + 2
