"""Comparing models: each contender is measured on the same rows, and a difference is told from chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.models import gate as gates
from pipelines.models import judgement_report
from pipelines.models.gate import GateDecision
from pipelines.models.judgement import Gate, Slice
from pipelines.models.program import Evaluation
from ray_jobs.core.contest import Contest, contest
from ray_jobs.core.dataset import Columns, Rows
from ray_jobs.core.errors import DatasetError, MetricError
from ray_jobs.tabular.metrics_binary import evaluate

AUC = Gate(metrics=("auc",))


@dataclass(frozen=True, slots=True)
class Column:
    """Predicts what a column says."""

    name: str

    def predict(self, rows: Columns) -> NDArray[np.float64]:
        return np.asarray(rows[self.name], dtype=np.float64)


def made_up(n: int, seed: int, *, skills: Sequence[float] = (1.0, 1.0), day: int = 1) -> Rows:
    """Rows of days of `day` rows, and the probabilities of two models: the greater the skill, the less noise.

    The noise of a model is the same for the rows of a day.
    """
    random = np.random.default_rng(seed)
    truth = random.standard_normal(n)
    days = np.arange(n) // day
    noise = random.standard_normal((2, n // day + 1))[:, days]
    columns: dict[str, NDArray[np.generic]] = {
        "ours": _sigmoid(truth + noise[0] / skills[0]),
        "theirs": _sigmoid(truth + noise[1] / skills[1]),
        "day": np.datetime64("2026-01-01T10:00", "us") + days.astype("timedelta64[D]"),
        "carrier": np.array(["AA", "UA", None], dtype=object)[random.choice(3, n, p=(0.7, 0.22, 0.08))],
        "distance": np.where(random.random(n) < 0.1, np.nan, random.random(n) * 1000),
    }
    return Rows(columns, (random.random(n) < _sigmoid(2 * truth)).astype(np.float64))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def compared(rows: Rows, gate: Gate = AUC) -> Contest:
    contenders = {"challenger": Column("ours"), "baseline": Column("theirs")}
    return contest(rows, contenders, measure=evaluate, gate=gate)


def decided(rows: Rows, gate: Gate = AUC) -> GateDecision:
    return gates.decide(task="binary", gate=gate, judgement=compared(rows, gate).judgement, window="w")


def test_a_contender_gets_the_evaluation_that_it_gets_alone() -> None:
    rows = made_up(300, 1)
    result = compared(rows, Gate(metrics=("auc", "brier")))
    assert list(result.evaluations) == ["challenger", "baseline"]
    assert result.evaluations["challenger"] == evaluate(rows.labels, Column("ours").predict(rows.columns))
    assert [(each.opponent, each.metric) for each in result.judgement.differences] == [
        ("baseline", "auc"), ("baseline", "brier"),
    ]  # fmt: skip
    for each in result.judgement.differences:
        assert each.challenger_value == result.evaluations["challenger"].metrics[each.metric]
        assert each.low < each.challenger_value - each.opponent_value < each.high
    for contender, intervals in result.judgement.intervals.items():
        for metric, (low, high) in intervals.items():
            assert low < result.evaluations[contender].metrics[metric] < high


def test_the_same_rows_give_the_same_bounds() -> None:
    rows = made_up(200, 2)
    assert compared(rows).judgement == compared(rows).judgement


def test_equal_predictions_differ_by_nothing_and_do_not_pass() -> None:
    rows = made_up(200, 2)
    same = Rows({**rows.columns, "theirs": rows.columns["ours"]}, rows.labels)
    (difference,) = compared(same).judgement.differences
    assert (difference.low, difference.high) == (0.0, 0.0)
    assert not decided(same, replace(AUC, confidence=0.5)).passed


def test_people_are_shown_bounds_that_tell_chance_however_little_the_gate_asks_for() -> None:
    rows = made_up(300, 1, skills=(1.3, 1.0))
    little, usual = (decided(rows, replace(AUC, confidence=confidence)) for confidence in (0.5, 0.95))
    (own,), (strict,) = little.judgement.differences, usual.judgement.differences
    assert own.low == own.high  # with 0.5, both are the median of the draws
    assert own.shown == strict.shown == (strict.low, strict.high)
    assert strict.interval is None
    assert little.judgement.intervals == usual.judgement.intervals
    assert "{:+.4f} to {:+.4f}".format(*own.shown) in str(little.comparisons[0])
    assert gates.read(little.document()).document() == little.document()
    assert "interval" not in usual.document()["comparisons"][0]  # as files of earlier releases have it
    [row] = [line for line in judgement_report.lines(little) if line.startswith("| auc")]
    assert row.endswith(" won, may be chance |" if own.shown[0] <= 0 <= own.shown[1] else " won |")


@pytest.mark.parametrize(
    ("gate", "day"),
    [
        pytest.param(replace(AUC, confidence=0.9), 1, id="auc of single rows"),
        pytest.param(Gate(metrics=("log_loss",), confidence=0.9, together=("day",)), 20, id="log loss of days"),
    ],
)
def test_a_challenger_that_is_no_better_seldom_passes(gate: Gate, day: int) -> None:
    times = 80
    passed = sum(decided(made_up(240, seed, day=day), gate).passed for seed in range(times))
    assert 0.03 * times < passed <= 0.1 * times + 2.5 * (0.1 * 0.9 * times) ** 0.5


def test_rows_that_share_causes_pass_by_chance_if_they_count_one_by_one() -> None:
    rows_alone = Gate(metrics=("log_loss",), confidence=0.9)
    seeds = range(30)
    assert sum(decided(made_up(200, seed, skills=(0.4, 0.4), day=40), rows_alone).passed for seed in seeds) > 0.2 * len(
        seeds
    )


def test_a_real_improvement_passes() -> None:
    assert all(decided(made_up(1500, seed, skills=(3.0, 1.0))).passed for seed in range(3))


def test_a_better_figure_on_few_rows_does_not_pass() -> None:
    rows = made_up(60, 4, skills=(1.3, 1.0))
    (difference,) = compared(rows).judgement.differences
    assert difference.challenger_value > difference.opponent_value
    assert not decided(rows).passed


def test_a_metric_that_many_draws_do_not_have_is_never_won() -> None:
    rows = made_up(60, 4)
    best = np.argmax(rows.columns["ours"])
    decision = decided(Rows(rows.columns, (np.arange(60) == best).astype(np.float64)))
    (comparison,) = decision.comparisons
    assert comparison.difference.challenger_value == 1.0 > comparison.difference.opponent_value
    assert (comparison.difference.low, comparison.difference.high) == (-np.inf, np.inf)
    assert not decision.passed
    assert gates.read(decision.document()) == decision
    assert judgement_report.draw(decision)["differences"].startswith(b"\x89PNG")


def spoiled(rows: Rows, where: NDArray[np.bool_]) -> Rows:
    """The rows, with the opposite predictions of the challenger where `where` says."""
    ours = np.where(where, 1 - rows.columns["ours"], rows.columns["ours"])
    return Rows({**rows.columns, "ours": ours}, rows.labels)


@pytest.mark.parametrize(
    ("declared", "where"),
    [
        (Slice("carrier", tolerance={"auc": 0.05}), lambda columns: columns["carrier"] == "UA"),
        (Slice("carrier", tolerance={"log_loss": 0.02}), lambda columns: columns["carrier"] == "UA"),
        (Slice("distance", edges=(800.0,), tolerance={"auc": 0.0}), lambda columns: columns["distance"] >= 800),
        (Slice("distance", edges=(800.0,), tolerance={"auc": 0.0}), lambda columns: np.isnan(columns["distance"])),
    ],
    ids=["text", "other metric", "number", "null"],
)
def test_a_slice_that_gets_worse_fails_though_the_whole_gets_better(
    declared: Slice, where: Callable[[Columns], NDArray[np.bool_]]
) -> None:
    rows, gate = made_up(1500, 5, skills=(4.0, 0.5)), replace(AUC, slices=(declared,))
    assert decided(rows, gate).passed
    decision = decided(spoiled(rows, where(rows.columns)), gate)
    assert decision.comparisons[0].won
    assert decision.reason.startswith(f"gets worse where {declared.column} is ")


def test_many_slices_seldom_fail_a_model_that_is_as_good_everywhere() -> None:
    gate = Gate(metrics=("auc",), confidence=0.9, slices=(Slice("part", tolerance={"brier": 0.0}, minimum_rows=20),))
    failed = 0
    for seed in range(40):
        rows = made_up(300, seed)
        parts = np.array([f"p{place % 10}" for place in range(len(rows))], dtype=object)
        judgement = compared(Rows({**rows.columns, "part": parts}, rows.labels), gate).judgement
        failed += any(difference.low > 0 for part in judgement.slices for difference in part.differences)
    assert failed <= 0.1 * 40 + 2.5 * (0.1 * 0.9 * 40) ** 0.5


def test_slices_have_all_rows_and_every_contenders_figures() -> None:
    rows = made_up(1000, 6)
    carrier, distance = Slice("carrier", tolerance={"brier": 0.1}), Slice("distance", edges=(100.0, 900.0))
    slices = compared(rows, replace(AUC, slices=(carrier, distance))).judgement.slices
    assert [(each.column, each.value) for each in slices] == [
        ("carrier", "AA"), ("carrier", "UA"), ("carrier", "null"),
        ("distance", "[-inf, 100)"), ("distance", "[100, 900)"), ("distance", "[900, inf)"), ("distance", "null"),
    ]  # fmt: skip
    assert sum(each.rows for each in slices) == 2 * len(rows)
    places = rows.columns["carrier"] == "UA"
    own = evaluate(rows.labels[places], rows.columns["ours"][places]).metrics
    assert slices[1].values["challenger"] == pytest.approx({"auc": own["auc"], "brier": own["brier"]})
    assert slices[2].not_judged == f"{slices[2].rows} rows, fewer than 100"


def test_a_slice_of_one_label_is_shown_and_not_judged() -> None:
    rows = made_up(1000, 7)
    part = np.where(rows.labels == 1, "late", "punctual").astype(object)
    columns = {**rows.columns, "part": part}
    declared = Slice("part", tolerance={"auc": 0.1})
    slices = compared(Rows(columns, rows.labels), replace(AUC, slices=(declared,))).judgement.slices
    assert [each.not_judged for each in slices] == ["auc has no value"] * 2


@pytest.mark.parametrize(("shift", "passes"), [(0.0, True), (1.0, False)])
def test_a_gap_between_groups_fails_where_it_is_wider_than_it_may_be(shift: float, passes: bool) -> None:
    rows = made_up(1500, 8, skills=(4.0, 1.0))
    logits = np.log(rows.columns["ours"] / (1 - rows.columns["ours"])) + shift * (rows.columns["carrier"] == "AA")
    shifted = Rows({**rows.columns, "ours": _sigmoid(logits)}, rows.labels)
    declared = Slice("carrier", largest_gap={"mean_probability": 0.1, "bias": 0.1})
    decision = decided(shifted, replace(AUC, slices=(declared,)))
    assert [(gap.metric, gap.low <= 0.1) for gap in decision.judgement.gaps] == [
        ("mean_probability", passes), ("bias", passes),
    ]  # fmt: skip
    assert decision.passed is passes


def test_rows_of_one_group_alone_raise_an_error() -> None:
    with pytest.raises(MetricError, match="one group of rows that agree in day"):
        compared(made_up(100, 9, day=200), replace(AUC, together=("day",)))


def test_an_id_is_no_column_of_slices() -> None:
    rows = made_up(300, 10)
    ids = np.array([f"r{place}" for place in range(300)], dtype=object)
    with pytest.raises(DatasetError, match="slices of id: 300 values.*give the slice `edges`"):
        compared(Rows({**rows.columns, "id": ids}, rows.labels), replace(AUC, slices=(Slice("id"),)))


def test_an_evaluation_that_lacks_a_score_of_the_gate_raises_an_error() -> None:
    def without(labels: NDArray[np.float64], predictions: NDArray[np.float64]) -> Evaluation:
        return replace(evaluate(labels, predictions), scores={})

    with pytest.raises(MetricError, match="evaluation of the challenger: no score of auc"):
        contest(made_up(50, 1), {"challenger": Column("ours")}, measure=without, gate=AUC)


def test_a_contender_that_predicts_nan_ends_the_contest_with_an_error() -> None:
    with pytest.raises(MetricError, match="no probability"):
        compared(Rows({**made_up(50, 1).columns, "ours": np.full(50, np.nan)}, made_up(50, 1).labels))
