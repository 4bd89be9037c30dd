"""What people see of a rollout: words, figures and plots, from its files alone."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from pipelines.rollout import plots, report, state
from tests.pipelines.rollout.toy_service import ToyRollout

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")


@pytest.fixture
def half(toy: ToyRollout) -> ToyRollout:
    """A rollout in its second stage, with some answers there."""
    toy.started()
    toy.controller().look()
    toy.asked()
    toy.controller().look()
    toy.asked(30)
    toy.controller().look()
    return toy


def test_a_running_rollout_is_described_with_what_it_waits_for(half: ToyRollout) -> None:
    found = report.describe(half.settings, half.newest)
    assert (found["status"], found["stage"], found["stage_number"], found["share"]) == ("running", "canary 50%", 2, 0.5)
    assert found["answers"] == {"stable": 30, "candidate": 30}
    assert found["because"].startswith("waits for 30 more answers")
    assert {figure["guard"] for figure in found["figures"]} == {"errors", "missing"}
    assert (found["unwatched_seconds"], found["next"], found["ended_at"]) == (None, None, None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert report.words(found)[1].startswith("running, stage canary 50% (2 of 3): 50% of the questions, for 0.0 min")


def test_a_rollout_at_which_nobody_looks_says_how_to_go_on(half: ToyRollout) -> None:
    now = half.newest.looked_at + 40
    found = report.describe(half.settings, half.newest, now=now)
    assert found["unwatched_seconds"] == 40
    assert "goldpath materialize rollouts/toys/bricks" in report.words(found)[-1]
    paused, starting, ended = (replace(half.newest, status=status) for status in ("paused", "starting", "returned"))
    assert report.unwatched_seconds(paused, now=now) == 40
    assert report.unwatched_seconds(starting, now=now) is None
    assert report.unwatched_seconds(ended, now=now) is None
    assert report.unwatched_seconds(replace(half.newest, looked_at=time.time() + 3600)) is None


def test_a_rollout_that_went_back_says_why_by_which_figures_and_how_fast(half: ToyRollout) -> None:
    half.asked(60, failed=True)
    half.controller().look()
    found = report.describe(half.settings, half.newest)
    assert found["status"] == "returned"
    assert found["because"].startswith("errors: 0.6667 against 0.0000")
    assert found["rollback_seconds"] >= 0
    first = report.rows(found["figures"])[0]
    assert (first["guard"], first["limit"], first["answers"]) == ("errors", "0.05 broken", "90")
    assert [step["what"] for step in report.steps(half.settings, half.newest)] == ["start", "stage", "back", "returned"]


def test_plots_show_the_share_and_each_guard(half: ToyRollout) -> None:
    half.asked(60, failed=True)
    half.controller().look()
    drawn = plots.draw(half.settings, half.newest)
    assert list(drawn) == ["share", "errors", "missing"]
    texts = {name: [*ET.fromstring(image).itertext()] for name, image in drawn.items()}
    assert "Questions that version 2 answers, as a share; sent back" in texts["share"]
    assert {"shadow", "canary 50%"} <= {text.strip() for text in texts["errors"]}
    assert b"nan" not in b"".join(drawn.values())
    assert b'r="4"' in drawn["errors"]  # where it broke
    assert b'r="4"' not in drawn["missing"]


def test_a_rollout_that_has_only_begun_is_drawn_too(toy: ToyRollout) -> None:
    present = toy.started()
    assert list(plots.draw(toy.settings, present)) == ["share"]
    assert report.rows(report.describe(toy.settings, present)["figures"]) == []
    assert plots.draw(toy.settings, replace(present, rollout="none")) == {}
    assert state.history(toy.settings, present)[0]["what"] == "start"
