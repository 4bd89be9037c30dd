"""Drift of a feature: what has moved is found and named, what has not is not, whatever the order of rows."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError
from pipelines.features import drift
from pipelines.features.distributions import CATEGORIES, Distribution, Kind, distribution
from pipelines.features.drift import Drift, DriftLimits
from tests.pipelines.features.toy_views import stock_rows, stock_table

ARROW = {"number": pa.float64(), "text": pa.string()}
LIMITS = DriftLimits()


def arrow(kind: Kind, values: Sequence[Any]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, ARROW[kind])])


def drifted(kind: Kind, before: Sequence[Any], now: Sequence[Any]) -> Drift:
    return drift.judged(
        "training and now", LIMITS, {"x": distribution(kind, arrow(kind, before))}, {"x": arrow(kind, now)}
    )


def normal(rows: int, *, mean: float = 0.0, deviation: float = 1.0, seed: int = 1) -> list[float]:
    return np.random.default_rng(seed).normal(mean, deviation, rows).tolist()


def texts(rows: int, values: Sequence[str | None], seed: int = 1) -> list[str | None]:
    return random.Random(seed).choices(values, k=rows)


@pytest.mark.parametrize(
    ("kind", "before", "now", "has_drifted"),
    [
        ("number", normal(5_000), normal(2_000, seed=2), False),
        ("number", normal(5_000), normal(2_000, mean=0.1, seed=2), False),
        ("number", normal(5_000), normal(2_000, mean=1.0, seed=2), True),
        ("number", normal(5_000), normal(2_000, deviation=3.0, seed=2), True),
        ("number", normal(5_000), [1_000 * value for value in normal(2_000, seed=2)], True),
        ("number", normal(5_000), [*normal(1_500, seed=2), *[None] * 500], True),
        ("number", [*normal(4_000), *[None] * 1_000], [*normal(800, seed=2), *[float("nan")] * 200], False),
        ("number", [7.0] * 5_000, [7.0] * 500, False),
        ("number", [0.1 + 0.2] * 5_000, [0.3] * 500, False),
        ("number", [7.0] * 5_000, [7.0001] * 500, True),
        ("number", [7.0] * 5_000, [7.0] * 400 + [8.0] * 100, True),
        ("number", [0.0, 1.0] * 2_500, [0.0, 1.0] * 300, False),
        ("number", [0.0] * 4_500 + [1.0] * 500, [0.0] * 300 + [1.0] * 300, True),
        ("number", [None] * 5_000, normal(500), True),
        ("number", [None] * 5_000, [None] * 500, False),
        ("text", texts(5_000, "aab"), texts(900, "aab", seed=2), False),
        ("text", texts(5_000, "aab"), texts(900, "abb", seed=2), True),
        ("text", texts(5_000, "ab"), texts(900, "abc", seed=2), True),
        ("text", texts(5_000, "ab"), texts(900, ["a", "b", None], seed=2), True),
        ("text", texts(5_000, "ab"), [f"customer {n}" for n in range(900)], True),
        ("text", [f"c{n % 400}" for n in range(8_000)], [f"c{n % 400}" for n in range(800)], False),
    ],
    ids="same small-move move wider unit nulls nan-is-null constant rounded other-constant second-value flag flag-moved "
    "was-missing all-missing texts shares new-text null-text ids many-texts".split(),
)  # fmt: skip
def test_a_feature_has_drifted_if_its_shares_moved_far(
    kind: Kind, before: list[Any], now: list[Any], has_drifted: bool
) -> None:
    found = drifted(kind, before, now)
    assert [each.feature for each in found.drifted] == (["x"] if has_drifted else [])
    assert ("x by" in found.words) is has_drifted


def test_with_few_rows_there_is_no_verdict() -> None:
    few = drifted("number", normal(5_000), normal(99, mean=9))
    assert few.drifted == []
    assert few.words == "training and now: no verdict, 99 rows of x, 100 are needed"
    assert drifted("number", normal(99), normal(5_000)).no_verdict
    assert drift.judged("training and now", LIMITS, {}, {}).no_verdict
    assert drifted("number", normal(5_000), normal(100, mean=9)).drifted


@pytest.mark.parametrize("rows", [100, 300, 3_000])
def test_samples_of_one_distribution_hardly_ever_drift(rows: int) -> None:
    chosen = random.Random(rows)
    alarms = 0
    for seed in range(100):
        before = {
            f"n{place}": distribution("number", arrow("number", normal(1_000, seed=1_000 * seed + place)))
            for place in range(5)
        } | {
            f"t{place}": distribution("text", arrow("text", texts(1_000, "abcdefgh"[place:], seed=seed)))
            for place in range(3)
        }
        now = {
            name: arrow("number", normal(rows, seed=chosen.randrange(10**9)))
            if name[0] == "n"
            else arrow("text", texts(rows, "abcdefgh"[int(name[1]) :], seed=chosen.randrange(10**9)))
            for name in before
        }
        alarms += bool(drift.judged("training and now", LIMITS, before, now).drifted)
    assert alarms <= 3  # of 100 checks of eight features: each has one chance in a hundred


@given(
    numbers=st.lists(st.none() | st.floats() | st.sampled_from([0.0, 1.0]), min_size=1, max_size=300),
    now=st.lists(st.none() | st.floats(), min_size=100, max_size=200),
    cuts=st.lists(st.integers(0, 200), max_size=4),
    shuffled=st.randoms(use_true_random=False),
)
@settings(max_examples=50, deadline=None)
def test_no_verdict_depends_on_the_order_of_rows_or_on_how_they_are_cut(
    numbers: list[Any], now: list[Any], cuts: list[int], shuffled: random.Random
) -> None:
    reference, others = distribution("number", arrow("number", numbers)), list(numbers)
    shuffled.shuffle(others)
    assert distribution("number", arrow("number", others)) == reference
    assert Distribution.from_json(reference.as_json()) == reference
    assert reference.rows == len(numbers)
    assert len(reference.labels) == len(reference.counts)
    edges = sorted({0, len(now), *(min(cut, len(now)) for cut in cuts)})
    mixed = list(now)
    shuffled.shuffle(mixed)
    pieces = [pa.array(mixed[low:high], pa.float64()) for low, high in itertools.pairwise(edges)]
    whole, cut = ({"x": arrow("number", now)}, {"x": pa.chunked_array(pieces, pa.float64())})
    judged = [drift.judged("now", LIMITS, {"x": reference}, values) for values in (whole, cut)]
    assert judged[0] == judged[1]


def test_texts_with_a_bin_are_the_most_frequent_ones_in_any_order() -> None:
    values = [f"c{n}" for n in range(100) for _ in range(9 + n // 50)]
    found = distribution("text", arrow("text", values))
    assert found == distribution("text", arrow("text", values[::-1]))
    assert len(found.bins) == CATEGORIES
    assert found.counts == (*[10] * CATEGORIES, 950 - 10 * CATEGORIES, 0)
    assert found.labels[-2:] == ("others", "missing")


def test_texts_of_few_rows_are_not_kept() -> None:
    found = distribution("text", arrow("text", [f"customer {n}" for n in range(500)] + ["shop"] * 10))
    assert (found.bins, found.counts) == (("shop",), (10, 500, 0))


def test_values_of_a_table_are_the_same_in_any_order_and_missing_ones_are_null(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.features.drift.SAMPLE", 400)
    rows = stock_rows(days=5, change=lambda row: row | {"price": float("nan")})
    types = {"price": "double", "pieces": "int", "colour": "string", "sold": "boolean"}
    assert drift.kinds(types | {"at": "timestamp", "exact": "decimal(8,2)"}) == {
        "price": "number", "pieces": "number", "colour": "text", "sold": "number"
    }  # fmt: skip
    counted = []
    for order in (rows, rows[::-1]):
        frame = engine.session.createDataFrame(stock_table(order))
        values = drift.values_of(frame, types, ("item", "event_timestamp"))
        kinds = drift.kinds(types)
        counted.append({name: distribution(kinds[name], values[name]) for name in types})
    assert counted[0] == counted[1]
    assert 250 < counted[0]["price"].rows < 550
    assert 0.1 < counted[0]["price"].missing < 0.3
    assert counted[0]["sold"].missing == 0


@pytest.mark.parametrize("wrong", [{"distance": 0.0}, {"distance": 1.1}, {"window": timedelta(0)}])
def test_limits_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="limits of drift"):
        DriftLimits(**wrong)


def test_another_limit_decides_otherwise() -> None:
    values: Callable[[float], pa.ChunkedArray] = lambda mean: arrow("number", normal(5_000, mean=mean))  # noqa: E731
    reference = {"x": distribution("number", values(0.0))}
    strict, lax = DriftLimits(distance=0.05), DriftLimits(distance=0.9)
    assert drift.judged("now", strict, reference, {"x": values(0.3)}).drifted
    assert not drift.judged("now", lax, reference, {"x": values(3.0)}).drifted
