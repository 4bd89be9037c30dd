"""The files beside a trained model hold the gate's figures of every contender."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.models import run_record, tasks
from pipelines.models.answers import Task
from pipelines.models.evidence import CARD_FILE, Evidence, read_gate
from pipelines.models.judgement import Difference, Gap, Gate, Slice, SliceFigures
from pipelines.models.run_record import RunRecord
from tests.pipelines.models.trained import evidence_of, judged

RECORD = RunRecord(
    created_at=run_record.now(), code_version="0123", code_dirty=False, feature_service="s", as_of_rule="r",
    dataset_versions={"gold/toys/training_set": 3}, hyperparameters={}, environment={}, base_model=None,
    base_image=None, accelerator="cpu", artifacts={}, dagster_run_id="run",
)  # fmt: skip


@pytest.fixture
def evidence() -> Evidence:
    return evidence_of("toys.model", champion="ab12")


def test_the_gate_file_has_the_decision_and_every_contenders_figures(evidence: Evidence, tmp_path: Path) -> None:
    evidence.write(tmp_path / "evidence", RECORD)
    content = read_gate(tmp_path / "evidence")
    assert (content["passed"], content["reason"], content["window"]) == (True, "beats every opponent", "November")
    assert content["champion"] == "ab12"
    assert content["standings"]["challenger"] == {"auc": 0.71, "log_loss": 0.48, "n": 10.0}
    assert content["figures"]["baseline"] == {
        "roc": [[0.0, 0.0], [0.25, 0.75], [1.0, 1.0]],
        "calibration": [[0.0, 0.0], [0.25, 0.75], [1.0, 1.0]],
    }
    assert content["comparisons"][0] == {
        "metric": "auc", "opponent": "baseline", "challenger_value": 0.71, "opponent_value": 0.68,
        "low": pytest.approx(0.03), "high": pytest.approx(0.03), "better": "greater", "won": True,
    }  # fmt: skip
    assert content["gate"]["confidence"] == content["judgement"]["confidence"] == 0.95


def test_record_card_and_plots_lie_beside_the_gate_file(evidence: Evidence, tmp_path: Path) -> None:
    images = evidence.write(tmp_path, RECORD)
    assert RunRecord.read(tmp_path) == RECORD
    assert [(tmp_path / name).read_bytes() for name in ("roc.png", "calibration.png", "differences.png")] == images
    card = (tmp_path / CARD_FILE).read_text(encoding="utf-8")
    assert "| auc | 0.7100 | 0.6800 |" in card
    assert "gold/toys/training_set@3" in card


@pytest.mark.parametrize(
    ("recipe", "champion", "expected"),
    [
        ({}, None, "base model none, from scratch"),
        ({}, "ab12", "base model ab12, a champion"),
        ({"base": {"name": "Tiny-135M", "licence": "MIT"}}, None, "base model Tiny-135M, licence MIT"),
        (
            {"base": {"name": "Tiny-135M", "licence": "MIT"}},
            "ab12",
            "base model ab12, a champion on Tiny-135M, licence MIT",
        ),
    ],
)
def test_the_card_says_what_training_began_with(
    evidence: Evidence, recipe: dict[str, Any], champion: str | None, expected: str
) -> None:
    card = evidence.card(replace(RECORD, hyperparameters=recipe, base_model=champion))
    assert f", {expected}\n" in card


@pytest.mark.parametrize(
    ("task", "answer", "figure", "meaning"),
    [
        ("binary", "the probability that the label is 1", "| auc | 0.7100 | 0.6800 |", "- log_loss: mean negative"),
        (
            "regression",
            "a value and an interval",
            "| mae | 1.0000 | 2.0000 |",
            "- coverage: share of true values inside",
        ),
        ("multiclass", "the probability of each label", "| accuracy | 0.8000 | 0.7000 |", "(greater is better)"),
    ],
)
def test_the_files_of_each_task_hold_its_gate_plots_and_words(
    task: Task, answer: str, figure: str, meaning: str, tmp_path: Path
) -> None:
    evidence_of("toys.model", task).write(tmp_path, RECORD)
    content = read_gate(tmp_path)
    assert (content["task"], content["passed"]) == (task, True)
    assert content["metrics"] == list(tasks.TASKS[task].gate)
    assert {path.stem for path in tmp_path.glob("*.png")} == {*tasks.TASKS[task].plots, "differences"}
    card = (tmp_path / CARD_FILE).read_text(encoding="utf-8")
    assert card.startswith("# toys.model\n")
    for words in (
        f"Task: {task}. It answers {answer}",
        figure,
        meaning,
        f"Gate, by {' and '.join(content['metrics'])}",
    ):
        assert words in card


def test_card_and_plots_show_what_may_be_chance_and_every_slice(tmp_path: Path) -> None:
    carrier = Slice("carrier", tolerance={"auc": 0.01}, largest_gap={"bias": 0.1})
    values = {"challenger": {"auc": 0.7, "bias": 0.01}, "baseline": {"auc": 0.6, "bias": 0.02}}
    figures: dict[str, Any] = {
        "slices": (
            SliceFigures("carrier", "A|A", 6, values, (Difference("auc", "baseline", 0.7, 0.6, -0.05, 0.25),)),
            SliceFigures("carrier", "null", 4, {"challenger": {}, "baseline": {}}, (), "4 rows, fewer than 100"),
        ),
        "gaps": (Gap("carrier", "bias", "AA", "UA", 0.0312, -0.02),),
    }
    figures["intervals"] = {"challenger": {"auc": (0.69, 0.73)}}
    declared = Gate(slices=(carrier,), together=("day",))
    metrics = {"auc": 0.71, "log_loss": 0.48}, {"auc": 0.68, "log_loss": 0.49}
    decision = judged("binary", metrics[0], {"baseline": metrics[1]}, declared=declared, width=0.02, **figures)
    images = replace(evidence_of("toys.model"), decision=decision).write(tmp_path, RECORD)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"roc", "calibration", "differences", "slices_carrier"}
    assert all(image.startswith(b"\x89PNG") for image in images)
    card = (tmp_path / CARD_FILE).read_text(encoding="utf-8")
    for words in (
        "| auc | 0.7100 (0.6900 to 0.7300) | 0.6800 |",
        "| auc | baseline | 0.7100 | 0.6800 | +0.0300 | +0.0100 | +0.0500 | won |",
        "| log_loss | baseline | 0.4800 | 0.4900 | -0.0100 | -0.0300 | +0.0100 | may be chance |",
        "Paired bootstrap of 10 units (rows that agree in day) in 2,000 draws",
        "| A\\|A | 6 | 0.7000 | 0.6000 | 0.0100 | 0.0200 | auc against baseline +0.1000 (-0.0500 to +0.2500) |",
        "| null | 4 | no value | no value | no value | no value | not judged: 4 rows, fewer than 100 |",
        "- bias lies 0.0312 apart between AA and UA, and 0.0000 at least if not by chance; allowed 0.1",
    ):
        assert words in card


def test_a_model_without_a_gate_file_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_gate(tmp_path)
