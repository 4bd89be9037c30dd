"""How good written answers are: the loss of the answers that are known, and how close the written ones come to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import Evaluation
from ray_jobs.core.errors import MetricError
from ray_jobs.core.scores import Mean, measured

#: Rows of which the plot shows question, known answer and written answer.
SAMPLES = 6
#: Characters of each of them.
SHOWN = 240


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of rows.

    Attributes:
        questions: The end of what was asked, of each row.
        written: Its answer; None for a row for which none was written.
        losses: [rows], the negative logarithm of the probability of the known answer, summed over its tokens.
        tokens: [rows], the known answer's tokens.
        cut: [rows], whether the end of the row's columns was left out.
    """

    questions: tuple[str, ...]
    written: tuple[str | None, ...]
    losses: NDArray[np.float64]
    tokens: NDArray[np.float64]
    cut: NDArray[np.bool_]


def evaluate(labels: Sequence[str] | NDArray[np.object_], answers: Answers) -> Evaluation:
    """All metrics and the data of the plots.

    Args:
        labels: The known answers.
        answers: Of the same rows.

    Raises:
        MetricError: if no row has a written answer, or a loss is no finite number.
    """
    known = [str(label) for label in labels]
    places = [place for place, text in enumerate(answers.written) if text is not None]
    if not places or len(known) != len(answers.written) or not np.isfinite(answers.losses).all():
        raise MetricError(
            object="metrics",
            observed=f"{len(known)} labels, {len(places)} written answers, and "
            f"{int((~np.isfinite(answers.losses)).sum())} losses that are no finite number",
            expected="rows with a written answer and a finite loss",
            next_step="correct the gate's window, or lower the learning rate",
        )
    pairs = [(known[place], answers.written[place] or "") for place in places]
    overlaps = rouge_l(pairs)
    same = [float(_plain(expected) == _plain(written)) for expected, written in pairs]
    was_written, overlap, match = np.zeros((3, len(known)))
    was_written[places], overlap[places], match[places] = 1.0, overlaps, same
    scores = {
        "held_out_loss": Mean(answers.losses, answers.tokens),
        "perplexity": Mean(answers.losses, answers.tokens, then=np.exp),
        "rouge_l": Mean(overlap, was_written),
        "exact_match": Mean(match, was_written),
        "cut": Mean(answers.cut.astype(np.float64)),
    }
    return Evaluation(
        metrics=measured(scores, len(known)) | {"n_written": float(len(places))},
        scores=scores,
        figures={
            "rouge_l": sorted(overlaps),
            "samples": [
                {
                    "question": answers.questions[place][-SHOWN:],
                    "known": known[place][:SHOWN],
                    "written": (answers.written[place] or "")[:SHOWN],
                }
                for place in places[:SAMPLES]
            ],
        },
    )


def rouge_l(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """The F-measure of the longest common subsequence of words, of each pair of a known and a written answer.

    1 for two answers without words.
    """
    from rouge_score.rouge_scorer import RougeScorer

    words = _Words()
    scorer = RougeScorer(["rougeL"], tokenizer=words)
    return [
        scorer.score(known, written)["rougeL"].fmeasure if words.tokenize(known) or words.tokenize(written) else 1.0
        for known, written in pairs
    ]


class _Words:
    """Splits a text into lower-case words of any script; the library's own words are those of English."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())


def _plain(text: str) -> str:
    return " ".join(text.split())
