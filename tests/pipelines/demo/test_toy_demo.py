"""A toy domain's demo: the days that land, the windows of its trainings, its figures, and a report of its task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.demo import report, windows
from pipelines.demo.outcomes import metrics
from pipelines.errors import DefinitionError, SettingsError
from pipelines.features.declaration import FeatureService, feature_view
from pipelines.landing.made_files import Landed
from pipelines.models.answers import Task
from pipelines.models.program import Program
from pipelines.models.spec import ModelSpec
from pipelines.orchestration.demo_story import Days, Demo, Replay
from pipelines.orchestration.members import one_demo
from tests.pipelines import toy_contracts

TOYS = Domain(
    "toys", "toy-data", CostTags("cc-7", "toys", "blocks", "building"), Contracts(), timezone="America/New_York"
)


def unused() -> Any:
    raise AssertionError("a declaration does not call it")


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """Towers of blocks, recorded from January to June 2021, whose height is predicted."""
    towers = toy_contracts.contract(tmp_path, "gold/toys/towers", [toy_contracts.number("height")])
    key = {"primaryKey": True, "required": True}
    instant = {
        "name": "event_timestamp",
        "logicalType": "timestamp",
        "description": "When.",
        **key,
        "primaryKeyPosition": 2,
    }
    blocks = toy_contracts.contract(
        tmp_path,
        "gold/toys/blocks",
        [toy_contracts.text("block", **key, primaryKeyPosition=1), instant, toy_contracts.number("width")],
    )
    model = ModelSpec(
        domain=TOYS,
        name="height",
        question="How high will this tower be?",
        task="regression",
        program=Program("toys:train", loads="toys:load", tasks=("regression",), kinds=()),
        recipes={"from_scratch": unused, "fine_tune": unused},
        training_set=towers,
        features=FeatureService("height_v1", "toys", views=(feature_view(blocks),), description="x", owner="toy-data"),
        limits=(),
    )
    return Demo(
        domain=TOYS,
        title="how high will this tower be?",
        model=model,
        days=Days(first=date(2021, 1, 1), last=date(2021, 6, 30), through=date(2021, 5, 31), minimum=30),
        deliveries={"toys": lambda platform, first, last: Landed(0, 0, 0)},
        replay=Replay(
            questions=lambda instant: [],
            subjects="towers",
            outcomes=towers,
            label="height",
            answer="value",
        ),
    )


@pytest.mark.parametrize(
    ("through", "days", "start"),
    [
        (date(2021, 5, 31), None, date(2021, 1, 1)),
        (date(2021, 5, 31), 30, date(2021, 5, 2)),
        (date(2021, 6, 23), None, date(2021, 1, 1)),
    ],
)
def test_the_days_that_land_end_before_the_replayed_ones(
    demo: Demo, through: date, days: int | None, start: date
) -> None:
    assert demo.days.start(through, days, replayed=7) == start


@pytest.mark.parametrize(
    ("through", "days"),
    [
        (date(2021, 6, 24), None),  # the seventh replayed day was not recorded
        (date(2021, 5, 31), 29),
        (date(2021, 1, 29), None),
        (date(2021, 2, 10), 60),
        (date(2020, 12, 31), None),
    ],
)
def test_days_that_were_not_recorded_or_are_too_few_are_refused(demo: Demo, through: date, days: int | None) -> None:
    with pytest.raises(SettingsError, match="at least 30 days between 2021-01-01 and 2021-06-23"):
        demo.days.start(through, days, replayed=7)


def test_an_hour_is_one_of_the_domains_time_zone(demo: Demo) -> None:
    assert demo.local(date(2021, 1, 2), 5) == datetime(2021, 1, 2, 10, tzinfo=UTC)
    assert demo.local(date(2021, 6, 2), 5) == datetime(2021, 6, 2, 9, tzinfo=UTC)


def test_the_first_training_has_the_recipes_windows_for_the_demos_own_days_only(demo: Demo) -> None:
    assert windows.first(demo, date(2021, 1, 1), date(2021, 5, 31)) == {}
    config = windows.first(demo, date(2021, 1, 1), date(2021, 6, 9))  # 160 days, of which the gate has 16
    assert config == {
        "ops": {
            "training__toys__height": {
                "config": {
                    "mode": "FROM_SCRATCH",
                    "train_start": "2021-01-01T05:00:00+00:00",
                    "train_end": "2021-05-25T04:00:00+00:00",
                    "gate_end": "2021-06-10T04:00:00+00:00",
                }
            }
        }
    }


def test_fine_tuning_halves_the_days_of_the_gate(demo: Demo) -> None:
    config = windows.fine_tune(demo, date(2021, 1, 1), date(2021, 3, 1))  # 60 days, and the gate has its minimum of 14
    instants = config["ops"]["training__toys__height"]["config"]
    assert instants == {
        "mode": "FINE_TUNE",
        "train_start": "2021-02-16T05:00:00+00:00",
        "train_end": "2021-02-23T05:00:00+00:00",
        "gate_end": "2021-03-02T05:00:00+00:00",
    }


def test_a_domain_has_at_most_one_demo(demo: Demo) -> None:
    assert (one_demo("toys", []), one_demo("toys", [demo])) == (None, demo)
    with pytest.raises(DefinitionError, match="2 demos"):
        one_demo("toys", [demo, demo])


@pytest.mark.parametrize(
    ("task", "came", "said", "expected"),
    [
        ("regression", [10.0, 20.0], [13.0, 16.0], {"mae": 3.5, "rmse": 12.5**0.5, "bias": -0.5}),
        ("multiclass", ["red", "blue"], ["red", "red"], {"accuracy": 0.5}),
        ("binary", [0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3], {"auc": 0.75, "positive_share": 0.5, "mean_probability": 0.4}),
        ("binary", [1, 1], [0.1, 0.8], {}),
        ("regression", [], [], {}),
    ],
)
def test_the_replay_is_measured_by_the_models_task(
    task: Task, came: list[Any], said: list[Any], expected: Mapping[str, float]
) -> None:
    rows = [{"came": true, "said": value} for true, value in zip(came, said, strict=True)]
    measured = metrics(task, rows, "came", "said")
    assert {name: measured[name] for name in expected} == pytest.approx(expected)
    assert bool(measured) == bool(expected)


def figures() -> dict[str, Any]:
    """The figures of a toy demo, whose model is a regression."""
    gate = {"passed": True, "reason": "beats every opponent", "window": f"[{'x' * 60})", "metrics": ["mae", "rmse"]}
    standings = {"challenger": {"mae": 1.25, "rmse": 2.0}, "baseline": {"mae": 1.5, "rmse": 2.5}}
    return {
        "domain": "toys",
        "title": "how high will this tower be?",
        "generated_at": "2021-07-01T00:00:00+00:00",
        "engine": "embedded",
        "stages": [{"name": "land", "what": "files arrive", "seconds": 1.5}],
        "assets": [
            {"key": "bronze/toys/sets", "rows": 16, "quarantined": None, "runs": 2, "seconds": 0.1, "cost": 0.0,
             "versions": {}, "tags": {}},
        ],
        "model": {
            "name": "toys.height", "question": "How high?", "task": "regression", "version": 1, "digest": "d" * 64,
            "metrics": standings["challenger"], "baseline": standings["baseline"], "gate": gate,
            "plots": {"residuals": "data:,"},
            "versions": [{"version": 1, "trained": "from scratch", "standings": standings, **gate}],
        },
        "replay": {"subjects": "towers", "asked": 21, "outcomes_known": 20, "compared": 19, "metrics": {"mae": 1.375}},
        "prediction": None,
        "rollouts": [],
        "checks": {"evaluated": 3, "passed": 2, "not_passed": ["gold/toys/towers: 3 rows are too high"]},
        "cost_by_workload_class": [{"workload_class": "training", "cost": 0.5, "runs": 1}],
        "cost_total": 0.5,
        "currency": "USD",
        "peak_memory_mb": 1234,
        "sections": [{"title": "Heights", "text": "By colour.", "columns": ["colour"], "rows": [["<red>"]]}],
    }  # fmt: skip


def test_the_report_shows_the_metrics_of_the_models_task_and_the_domains_sections(tmp_path: Path) -> None:
    page = report.write(tmp_path, figures()).read_text(encoding="utf-8")
    for text in (
        "how high will this tower be?",
        "files arrive",
        "mean absolute error, in the unit of the label",
        "21 towers were predicted beforehand",
        "<h2>Heights</h2>",
        "&lt;red&gt;",
        "2 of 3 checks passed; not passed: gold/toys/towers: 3 rows are too high.",
        'alt="residuals"',
    ):
        assert text in page
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == figures()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0, "0"), (281373, "281,373"), (3.0, "3"), (0.72249, "0.7225"), (72.449, "72.45"), (2e-5, "2e-05"),
     ("late", "late"), (float("nan"), "nan")],
)  # fmt: skip
def test_a_figure_is_written_for_people(value: Any, text: str) -> None:
    assert report.figure(value) == text
