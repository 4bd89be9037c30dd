"""Which version serves, as people decide it: with a reason, on record, and never one that may not serve."""

from __future__ import annotations

import dataclasses
import getpass
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import DamagedError, ModelError, NotFoundError, SettingsError
from pipelines.models import decisions, model_files, promotion
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.run_record import RunRecord
from pipelines.models.spec import ModelSpec
from pipelines.settings import Settings
from tests.pipelines.models.trained import toy_spec, write_evidence

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")


class Toy:
    """A model with versions that were registered without a run of Dagster."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.registry, self._folder = settings, Registry(settings), folder
        self.spec = toy_spec(f"model_{uuid.uuid4().hex[:8]}", folder)
        self.name = self.spec.registered_name

    def registered(self, weights: bytes, *, wins: bool = True) -> RegisteredModel:
        model = self._folder / uuid.uuid4().hex / "model"
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(weights)
        evidence = write_evidence(model, self.name, wins=wins)
        run_id = self.registry.log_run(
            experiment=self.name, model=model, record=RunRecord.read(evidence), metrics={}, history={},
            evidence=evidence, tags={},
        )  # fmt: skip
        return self.registry.register(self.name, run_id=run_id, tags={})

    def promoted(self, version: int, spec: ModelSpec | None = None) -> decisions.Decision:
        return promotion.promote(self.settings, spec or self.spec, version, because="better")

    @property
    def champion(self) -> int | None:
        champion = self.registry.champion(self.name)
        return champion.version if champion else None


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), profile="test")


@pytest.fixture
def toy(settings: Settings, tmp_path: Path) -> Toy:
    return Toy(settings, tmp_path)


def test_decisions_are_on_record_with_who_when_why_and_the_evidence(toy: Toy) -> None:
    first, second = toy.registered(b"1"), toy.registered(b"2")
    toy.promoted(1)
    promotion.promote(toy.settings, toy.spec, 2, because="  fewer false alarms ")
    promotion.rollback(toy.settings, toy.spec, because="false alarms since Monday")
    assert toy.champion == 1
    noted = decisions.read(toy.settings, toy.name)
    assert [(each.act, each.version, each.before) for each in noted] == [
        ("promote", 1, None), ("promote", 2, 1), ("rollback", 1, 2),
    ]  # fmt: skip
    assert {each.decided_by for each in noted} == {getpass.getuser()}
    assert [each.digest for each in noted] == [first.digest, second.digest, first.digest]
    assert noted[1].evidence["mlflow_run"] == second.run_id
    assert len(noted[1].evidence["gate.json"]) == 64
    assert decisions.words(noted[2]).endswith(
        f"rolled back to version 1 ({first.digest[:12]}): false alarms since Monday"
    )


def test_rollbacks_go_back_step_by_step_and_end_at_the_first_version(toy: Toy) -> None:
    for number, weights in enumerate((b"1", b"2", b"3"), 1):
        toy.registered(weights)
        toy.promoted(number)
    for expected in (2, 1):
        promotion.rollback(toy.settings, toy.spec, because="worse")
        assert toy.champion == expected
    with pytest.raises(NotFoundError, match="no version that it followed"):
        promotion.rollback(toy.settings, toy.spec, because="worse")
    toy.promoted(3)
    promotion.rollback(toy.settings, toy.spec, because="worse again")
    assert toy.champion == 1


class Killed(BaseException):
    """Ends a decision where kill -9 would."""


@pytest.fixture
def killed_before_the_alias(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Calls a decision that ends after its note, and before the registry's alias moves."""

    def kill(*_: object) -> None:
        raise Killed

    def decide(decision: Callable[[], object]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Registry, "promote", kill)
            with pytest.raises(Killed):
                decision()

    return decide


def test_a_decision_that_was_killed_is_completed_by_the_same_command_and_noted_once(
    toy: Toy, killed_before_the_alias: Callable[[Callable[[], object]], None]
) -> None:
    for weights in (b"1", b"2"):
        toy.registered(weights)
    for version in (1, 2):
        killed_before_the_alias(lambda version=version: toy.promoted(version))
        assert toy.champion == (version - 1 or None)
        toy.promoted(version)
        assert toy.champion == version
    killed_before_the_alias(lambda: promotion.rollback(toy.settings, toy.spec, because="worse"))
    assert toy.champion == 2
    promotion.rollback(toy.settings, toy.spec, because="worse")
    assert toy.champion == 1
    noted = [(each.act, each.version, each.before) for each in decisions.read(toy.settings, toy.name)]
    assert noted == [("promote", 1, None), ("promote", 2, 1), ("rollback", 1, 2)]


def test_a_version_that_a_killed_promotion_never_made_the_champion_is_no_target_of_a_rollback(
    toy: Toy, killed_before_the_alias: Callable[[Callable[[], object]], None]
) -> None:
    for weights in (b"1", b"2", b"3"):
        toy.registered(weights)
    toy.promoted(1)
    killed_before_the_alias(lambda: toy.promoted(2))
    toy.promoted(3)
    promotion.rollback(toy.settings, toy.spec, because="worse")
    assert toy.champion == 1


def test_an_alias_that_somebody_set_by_hand_is_not_rolled_back_by_guessing(toy: Toy) -> None:
    for weights in (b"1", b"2", b"3"):
        toy.registered(weights)
    toy.promoted(1)
    toy.promoted(2)
    toy.registry.client.set_registered_model_alias(toy.name, "champion", "3")
    with pytest.raises(NotFoundError, match="no version that it followed"):
        promotion.rollback(toy.settings, toy.spec, because="worse")
    assert toy.champion == 3


def test_a_version_that_may_not_serve_is_promoted_by_nobody(toy: Toy) -> None:
    toy.registered(b"1", wins=False)
    for decide in (promotion.approve, promotion.promote):
        with pytest.raises(ModelError, match="did not pass the gate"):
            decide(toy.settings, toy.spec, 1, because="I like it")
    with pytest.raises(NotFoundError, match="version"):
        toy.promoted(2)
    assert toy.champion is None
    assert decisions.read(toy.settings, toy.name) == []


@pytest.mark.parametrize("because", ["", "  "])
def test_a_decision_without_a_reason_is_refused(toy: Toy, because: str) -> None:
    toy.registered(b"1")
    for decide in (promotion.approve, promotion.promote):
        with pytest.raises(SettingsError, match="no reason"):
            decide(toy.settings, toy.spec, 1, because=because)
    with pytest.raises(SettingsError, match="no reason"):
        promotion.rollback(toy.settings, toy.spec, because=because)


def test_the_champion_is_not_promoted_twice(toy: Toy) -> None:
    toy.registered(b"1")
    toy.promoted(1)
    with pytest.raises(SettingsError, match="it is the champion"):
        toy.promoted(1)


def test_a_model_of_high_risk_waits_for_a_persons_approval_of_these_files(toy: Toy) -> None:
    high = dataclasses.replace(toy.spec, risk="high")
    toy.registered(b"1")
    toy.registered(b"2")
    with pytest.raises(ModelError, match="no person has approved it"):
        toy.promoted(1, high)
    promotion.approve(toy.settings, high, 1, because="read the card")
    with pytest.raises(ModelError, match="no person has approved it"):
        toy.promoted(2, high)
    toy.promoted(1, high)
    assert toy.champion == 1


def test_a_damaged_record_is_an_error_and_no_approval(toy: Toy) -> None:
    toy.registered(b"1")
    promotion.approve(toy.settings, toy.spec, 1, because="read the card")
    (path,) = (toy.settings.root / "decisions").glob(f"{toy.name}.jsonl")
    path.write_text(path.read_text(encoding="utf-8").replace('"act"', '"deed"'), encoding="utf-8")
    with pytest.raises(DamagedError, match="line 1 is no decision"):
        toy.promoted(1, dataclasses.replace(toy.spec, risk="high"))


def test_a_registered_version_is_signed_and_a_changed_one_is_not_downloaded(toy: Toy) -> None:
    model = toy.registered(b"1")
    folder = toy.registry.download(model)
    assert model_files.digest(folder) == model.digest
    artifacts = toy.settings.root / "mlflow" / "artifacts" / toy.name / model.run_id / "artifacts"
    (artifacts / "evidence" / "card.md").write_text(f"# {toy.name}\n\nAnything.\n", encoding="utf-8")
    with pytest.raises(ModelError, match="its signature does not hold"):
        toy.registry.download(model)
