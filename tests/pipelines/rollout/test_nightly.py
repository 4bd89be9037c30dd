"""The last versions of a model are asked again what the service was asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.models.program import Program
from pipelines.models.registry import Registry
from pipelines.models.rollout_plan import Outcomes, Rollout
from pipelines.rollout.nightly import CHECKS, Replayed, replayed, result, rows
from pipelines.settings import Settings
from tests.pipelines import toy_contracts
from tests.pipelines.models.trained import toy_spec
from tests.pipelines.rollout.toy_models import registered

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
QUESTIONS = 400


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Replayed]:
    """Four versions, of which the oldest is not asked, one reads what the log lacks, and the champion is worse."""
    folder = tmp_path_factory.mktemp("toys")
    settings = Settings(home=folder / "home", profile="test")
    outcomes = toy_contracts.contract(
        folder, "gold/toys/outcomes", [toy_contracts.text("prediction_id", primaryKey=True)]
    )
    spec = dataclasses.replace(
        toy_spec("returns", folder),
        program=Program("nowhere:Toy", "tests.pipelines.rollout.toy_models:load", tasks=("binary",), kinds=("ray",)),
        rollout=Rollout.canary(outcomes=Outcomes(outcomes, "came")),
    )
    name = spec.registered_name
    registered(settings, name, folder)
    registered(settings, name, folder, inputs=("truth", "weather"))
    registered(settings, name, folder)
    champion = registered(settings, name, folder, error=0.3, seconds=2e-4)
    Registry(settings).promote(champion)
    random = np.random.default_rng(3)
    truths = random.uniform(0.1, 0.6, QUESTIONS)
    questions: list[dict[str, Any]] = [
        {"prediction_id": str(n), "columns": {}, "features": {"truth": {"value": truth}}, "missing": []}
        for n, truth in enumerate(truths)
    ]
    came = [int(value) for value in random.random(QUESTIONS) < truths]
    table = pa.table({"prediction_id": [str(n) for n in range(QUESTIONS)], "came": [*came[:-10], *[None] * 10]})
    write_deltalake(str(Path(settings.lakehouse, "gold", "toys", "outcomes")), table)
    service: Any = SimpleNamespace(model=spec, name=name)
    return replayed(settings, service, questions, cpu_price=36.0)


def test_the_champion_and_the_versions_before_it_answer_the_same_questions(found: list[Replayed]) -> None:
    assert [version.version for version in found] == [4, 3, 2]
    assert [len(version.losses or {}) for version in found] == [QUESTIONS - 10, QUESTIONS - 10, 0]
    assert found[2].skipped == "it reads weather, which the log lacks"
    assert found[0].ms >= 0.2
    assert 0 < found[1].cost < 36
    assert [row["version"] for row in rows(found)] == [4, 3, 2]


def test_a_regression_in_quality_or_latency_fails_its_check(found: list[Replayed]) -> None:
    quality = result("quality", found)
    assert not quality.passed
    assert "against version 3 on 390 outcomes, no chance" in (quality.description or "")
    assert not result("latency", found).passed


def test_versions_that_are_the_same_pass_every_check(found: list[Replayed]) -> None:
    same = [dataclasses.replace(found[1], version=5), found[1]]
    assert {name: result(name, same).passed for name in CHECKS} == dict.fromkeys(CHECKS, True)
    assert not result("cost", [dataclasses.replace(found[1], cost=1.0), dataclasses.replace(found[1], cost=0.5)]).passed


@pytest.mark.parametrize("versions", [[], [Replayed(1)], [Replayed(2, skipped="gone"), Replayed(1, 1.0, 1.0, {})]])
def test_without_two_versions_that_answered_no_check_passes(versions: list[Replayed]) -> None:
    assert not any(result(name, versions).passed for name in CHECKS)


def test_without_outcomes_the_quality_is_not_known() -> None:
    versions = [Replayed(2, 1.0, 1.0, {}), Replayed(1, 1.0, 1.0, {})]
    assert not result("quality", versions).passed
    assert result("latency", versions).passed
