"""Contenders answer one task, and are compared on rows that the champion was not trained on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models.program import Fold, Part, Window
from pipelines.models.registry import RegisteredModel
from pipelines.models.train import require_task
from pipelines.models.windows import comparison_window
from tests.pipelines.models.trained import write_evidence

CHAMPION = RegisteredModel("toys.model", 3, "0123456789abcdef", "run", {})


def november(day: int) -> datetime:
    return datetime(2013, 11, day, tzinfo=UTC)


GATE_WINDOW = Window(november(10), november(20))


@pytest.mark.parametrize("trained_until", [november(1), november(10)])
def test_a_champion_trained_before_the_gate_window_leaves_it_whole(trained_until: datetime) -> None:
    assert (
        comparison_window(GATE_WINDOW, CHAMPION, trained_on=Window(november(1) - timedelta(days=30), trained_until))
        == GATE_WINDOW
    )


def test_a_champion_trained_into_the_gate_window_shortens_it() -> None:
    window = comparison_window(GATE_WINDOW, CHAMPION, trained_on=Window(november(1), november(15)))
    assert window == Window(november(15), november(20))


@pytest.mark.parametrize("trained_until", [november(20), november(25)])
def test_a_champion_trained_to_the_end_of_the_gate_window_raises_an_error(trained_until: datetime) -> None:
    with pytest.raises(ModelError, match=r"toys\.model@3 .*rows that no contender was trained on"):
        comparison_window(GATE_WINDOW, CHAMPION, trained_on=Window(november(1) - timedelta(days=30), trained_until))


def test_a_fold_that_the_champion_was_not_trained_on_is_compared_whole() -> None:
    trained_on = Fold("fold", ("train",), holdout=("calibration",))
    assert comparison_window(Fold("fold", ("gate",)), CHAMPION, trained_on=trained_on) == Fold("fold", ("gate",))


@pytest.mark.parametrize(
    ("gate", "trained_on"),
    [
        (Fold("fold", ("gate",)), Fold("fold", ("train", "gate"))),
        (Fold("fold", ("gate",)), Fold("fold", ("train",), holdout=("gate",))),
        (Fold("fold", ("gate",)), Fold("group", ("train",))),
        (Fold("fold", ("gate",)), GATE_WINDOW),
        (GATE_WINDOW, Fold("fold", ("train",))),
    ],
)
def test_a_champion_that_may_have_seen_the_gates_rows_raises_an_error(gate: Part, trained_on: Part) -> None:
    with pytest.raises(ModelError, match=r"toys\.model@3 .*was trained on .* no contender was trained on"):
        comparison_window(gate, CHAMPION, trained_on=trained_on)


def test_a_champion_of_another_task_raises_an_error_with_both(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}", encoding="utf-8")
    write_evidence(folder, "toys.model", "regression")
    require_task("regression", CHAMPION, folder)
    with pytest.raises(ModelError, match=r"toys\.model@3 .* is regression\. Expected a champion of the task binary"):
        require_task("binary", CHAMPION, folder)


def test_a_champion_of_an_older_release_raises_an_error(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "gate.json").write_text('{"passed": true}', encoding="utf-8")
    with pytest.raises(ModelError, match="not known: an older release trained it"):
        require_task("binary", CHAMPION, tmp_path / "model")
