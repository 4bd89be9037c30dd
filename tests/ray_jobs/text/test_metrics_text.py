"""The metrics of written answers."""

from __future__ import annotations

import numpy as np
import pytest

from ray_jobs.core.errors import MetricError
from ray_jobs.text.metrics_text import SHOWN, Answers, evaluate, rouge_l


def answers(written: list[str | None], losses: list[float] | None = None) -> Answers:
    number = len(written)
    sums = np.array(losses or [2.0] * number)
    return Answers(("q" * 900,) * number, tuple(written), sums, np.full(number, 4.0), np.arange(number) == 0)


@pytest.mark.parametrize(
    ("known", "written", "overlap"),
    [
        ("Return the mean.", "return the MEAN", 1.0),
        ("a b c d", "a c", 2 / 3),
        ("a b", "b a", 0.5),
        ("a b", "", 0.0),
        ("", "", 1.0),
        ("…", "!", 1.0),
        ("Größe des Tisches", "größe des stuhls", 2 / 3),
        ("返回 平均值", "返回", 2 / 3),
    ],
)
def test_rouge_l_compares_words_of_any_script(known: str, written: str, overlap: float) -> None:
    assert rouge_l([(known, written)]) == [pytest.approx(overlap)]


def test_an_evaluation_counts_written_answers_and_all_losses() -> None:
    result = evaluate(["a  b", "c", "d"], answers(["a b\n", "x", None], [1.0, 2.0, 6.0]))
    assert result.metrics == {
        "held_out_loss": 0.75, "perplexity": pytest.approx(np.exp(0.75)), "rouge_l": 0.5, "exact_match": 0.5,
        "cut": pytest.approx(1 / 3), "n": 3.0, "n_written": 2.0,
    }  # fmt: skip
    assert [sample["written"] for sample in result.figures["samples"]] == ["a b\n", "x"]
    assert len(result.figures["samples"][0]["question"]) == SHOWN


@pytest.mark.parametrize(
    ("written", "losses"),
    [([None, None], [1.0, 1.0]), (["a", "b"], [1.0, np.nan]), (["a", "b"], [np.inf, 1.0]), (["a"], [1.0])],
)
def test_no_answer_or_a_loss_that_is_no_number_raises_an_error(written: list[str | None], losses: list[float]) -> None:
    with pytest.raises(MetricError):
        evaluate(["a", "b"], answers(written, losses))
