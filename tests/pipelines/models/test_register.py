"""Which challenger becomes the champion: the run's own, by a verdict against the champion of today, and once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import Check, GovernedRun, Written
from pipelines.governed.platform import Platform
from pipelines.lineage.events import Dataset
from pipelines.machine import files
from pipelines.models import judgement
from pipelines.models.register import register
from pipelines.models.registry import Registry
from pipelines.models.run_record import RunRecord
from pipelines.settings import Settings
from tests.conftest import Materialize
from tests.pipelines.models.trained import toy_spec, write_evidence
from tests.pipelines.toy_contracts import TAGS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")

DECLARED = judgement.Gate(metrics=("auc", "log_loss"))
Gate = Callable[..., dg.AssetCheckEvaluation]


class Model:
    """A toy model: its training and its registration, on a platform of its own."""

    def __init__(self, platform: Platform, materialize: Materialize, folder: Path) -> None:
        self.platform, self._materialize, self._folder = platform, materialize, folder
        self.name = f"toys.model_{uuid.uuid4().hex[:8]}"
        self.registry = Registry(platform.settings)
        key = ("training", "toys", self.name.partition(".")[2])
        self._weights, self._passes = b"", True
        self.spec = toy_spec(key[2], folder)
        self.declared = DECLARED

        @governed_asset(key=key, kind="training", owner="toy-data", tags=TAGS, kinds=("json",))
        def training(run: GovernedRun) -> Iterator[Written]:
            """A challenger. Grain: one MLflow run."""
            yield Written(Dataset(run.declaration.name, self._track(run.run_id), "toy-data"), {})

        @governed_asset(
            key=("models", *key[1:]), kind="model", owner="toy-data", tags=TAGS, kinds=("json",), deps=[key],
            checks=[Check("gate", "It beats the others", blocking=False)],
        )  # fmt: skip
        def registered(run: GovernedRun) -> Iterator[Written]:
            """The registered model. Grain: one version."""
            yield register(run, self.spec, declared=self.declared)

        self.training, self.registered = training, registered

    def _track(self, dagster_run: str) -> str:
        folder = self._folder / uuid.uuid4().hex
        model, evidence = folder / "model", folder / "evidence"
        files.replace(model / "model.safetensors", self._weights)
        champion = self.registry.champion(self.name)
        compared_with = champion.digest if champion else None
        write_evidence(model, self.name, wins=self._passes, champion=compared_with, run=dagster_run)
        record = RunRecord.read(evidence)
        return self.registry.log_run(
            experiment=self.name, model=model, record=record, metrics={}, history={}, evidence=evidence, tags={}
        )

    def train(self, weights: bytes, *, passes: bool = True) -> None:
        self._weights, self._passes = weights, passes
        self._materialize(self.platform, [self.training])

    def register(self) -> dg.AssetCheckEvaluation:
        """Registers in a run of its own; returns the gate's check."""
        return self._materialize(self.platform, [self.registered]).get_asset_check_evaluations()[0]

    def train_and_register(self, weights: bytes) -> None:
        """Trains and registers in one run."""
        self._weights, self._passes = weights, True
        self._materialize(self.platform, [self.training, self.registered])

    @property
    def champion(self) -> int | None:
        champion = self.registry.champion(self.name)
        return champion.version if champion else None


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return Platform(Settings(home=tmp_path_factory.mktemp("home"), profile="test"), dict)


@pytest.fixture
def model(platform: Platform, materialize: Materialize, tmp_path: Path) -> Model:
    return Model(platform, materialize, tmp_path)


def test_a_challenger_that_passed_becomes_the_champion_and_one_that_did_not_is_registered_only(model: Model) -> None:
    model.train(b"1")
    assert model.register().passed
    model.train(b"2", passes=False)
    check = model.register()
    assert (check.passed, model.champion) == (False, 1)
    assert str(check.description).startswith("does not beat: auc 0.6800 against baseline 0.7100")
    assert str(check.description).endswith("card.md of version 2 has all figures")
    assert [version.version for version in model.registry.versions(model.name)] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": ("log_loss", "auc")}, ""),
        ({"metrics": ("auc",)}, "metrics"),
        ({"metrics": ("brier",), "confidence": 0.99}, "metrics and confidence"),
        ({"slices": (judgement.Slice("carrier", tolerance={"auc": 0.01}),)}, "slices"),
        ({"together": ("day",)}, "together"),
    ],
)
def test_a_verdict_of_another_gate_than_is_declared_now_does_not_count(
    model: Model, changes: dict[str, Any], words: str
) -> None:
    model.train(b"1")
    model.declared = replace(DECLARED, **changes)
    check = model.register()
    assert (check.passed, model.champion) == ((False, None) if words else (True, 1))
    if words:
        assert str(check.description).startswith(
            f"was judged by a gate that differs from the declared one in {words}: goldpath materialize training/toys/"
        )


def test_a_rollback_is_not_undone_by_a_later_run(model: Model) -> None:
    for weights in (b"1", b"2"):
        model.train(weights)
        assert model.register().passed
    model.registry.promote(model.registry.version(model.name, 1))
    check = model.register()
    assert not check.passed
    assert "was taken out of service since" in str(check.description)
    assert model.champion == 1
    model.train(b"2")  # the same files again, compared with the champion of today
    assert not model.register().passed
    assert model.champion == 1


def test_a_verdict_against_a_champion_that_serves_no_more_does_not_count(model: Model) -> None:
    model.train(b"1")
    model.register()
    model.train(b"2", passes=False)
    model.register()
    model.train(b"3")
    model.registry.promote(model.registry.version(model.name, 2))
    check = model.register()
    assert not check.passed
    assert "the champion now is" in str(check.description)
    assert model.champion == 2
    model.train(b"4")
    assert model.register().passed


def test_a_run_registers_the_challenger_that_it_trained_itself(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    events = model.platform.lineage.events

    def with_a_later_challenger() -> Iterator[dict]:
        own = list(events())
        yield from own
        for event in own[-2:]:  # as if another run had trained another one between this run's two steps
            other = json.loads(json.dumps(event))
            if other["eventType"] == "COMPLETE" and other["outputs"]:
                other["run"]["facets"]["parent"]["run"]["runId"] = str(uuid.uuid4())
                other["outputs"][0]["facets"]["version"]["datasetVersion"] = "another"
                yield other

    monkeypatch.setattr(model.platform.lineage, "events", with_a_later_challenger)
    model.train_and_register(b"1")
    assert model.champion == 1


def test_a_run_that_was_killed_before_the_promotion_is_completed_by_the_next(model: Model) -> None:
    model.train(b"1")
    experiment = model.registry.client.get_experiment_by_name(model.name)
    assert experiment is not None
    (tracked,) = model.registry.client.search_runs([experiment.experiment_id])
    model.registry.register(model.name, run_id=tracked.info.run_id, tags={"gate": "passed"})
    assert model.champion is None
    assert model.register().passed
    assert model.champion == 1
