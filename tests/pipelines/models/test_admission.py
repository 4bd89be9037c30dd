"""A model serves by its evidence: digest, run record, gate and card; the alias of the registry alone admits nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelError, SettingsError
from pipelines.models import admission, card_check, model_files, tasks
from pipelines.models.answers import Task
from pipelines.models.evidence import CARD_FILE, GATE_FILE
from pipelines.models.registry import CHAMPION, EVIDENCE_FOLDER, MODEL_FOLDER, Registry
from pipelines.models.run_record import RECORD_FILE
from pipelines.models.signature import PRIVATE_KEY
from pipelines.settings import Settings
from tests.pipelines.models.trained import signed, write_evidence


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "model.json").write_text("{}", encoding="utf-8")
    write_evidence(folder, "toys.model")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), profile="test")


def admit(settings: Settings, model: Path) -> None:
    """Asks for a model whose evidence was as it is when it was registered."""
    admission.require(settings, signed(settings, model), name="toys.model", digest=model_files.digest(model))


def edit(file: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A change of a JSON file of the evidence."""

    def run(evidence: Path) -> None:
        content = json.loads((evidence / file).read_text(encoding="utf-8"))
        change(content)
        (evidence / file).write_text(json.dumps(content), encoding="utf-8")

    return run


def linked(evidence: Path) -> None:
    (evidence / CARD_FILE).rename(evidence.parent / CARD_FILE)
    (evidence / CARD_FILE).symlink_to(evidence.parent / CARD_FILE)


@pytest.mark.parametrize("task", tasks.TASKS)
def test_a_model_of_each_task_with_its_record_a_passed_gate_and_its_card_is_admitted(
    settings: Settings, model: Path, task: Task
) -> None:
    write_evidence(model, "toys.model", task)
    admit(settings, model)


@pytest.mark.parametrize(
    ("change", "observed"),
    [
        (lambda evidence: (evidence / RECORD_FILE).unlink(), "no complete run record"),
        (lambda evidence: (evidence / GATE_FILE).unlink(), "no complete gate.json"),
        (lambda evidence: (evidence / GATE_FILE).write_text("[]"), "no complete gate.json"),
        (lambda evidence: (evidence / CARD_FILE).unlink(), "its card.md lacks the title toys.model"),
        (
            lambda evidence: (evidence / CARD_FILE).write_text("# toys.other\n"),
            "its card.md lacks the title toys.model",
        ),
        (
            edit(RECORD_FILE, lambda record: record["artifacts"].update({"model.json": "0" * 64})),
            "not those of its run record",
        ),
        (edit(GATE_FILE, lambda gate: gate.update(passed=False)), "passed does not follow"),
        (edit(GATE_FILE, lambda gate: gate.pop("task")), "no complete gate.json"),
        (edit(GATE_FILE, lambda gate: gate.update(task="prose")), "no complete gate.json"),
        (edit(GATE_FILE, lambda gate: gate.update(task="regression")), "no complete gate.json"),
        (edit(GATE_FILE, lambda gate: gate.update(metrics=[])), "metrics does not follow"),
        (edit(GATE_FILE, lambda gate: gate["gate"].update(metrics=[])), "no complete gate.json"),
        (edit(GATE_FILE, lambda gate: gate["gate"]["metrics"].append("n")), "no complete gate.json"),
        (edit(GATE_FILE, lambda gate: gate["gate"].update(confidence=0.5)), "comparisons with confidence 0.95"),
        (edit(GATE_FILE, lambda gate: gate.pop("gate")), "no complete gate.json"),
        (edit(GATE_FILE, lambda gate: gate.update(passed="true")), "passed does not follow"),
        (edit(GATE_FILE, lambda gate: gate.update(comparisons=[])), "comparisons does not follow"),
        (edit(GATE_FILE, lambda gate: gate["judgement"].update(differences=[])), "no opponent"),
        (edit(GATE_FILE, lambda gate: gate["judgement"]["differences"].pop()), "no comparison with the baseline"),
        (edit(GATE_FILE, lambda gate: gate["judgement"]["differences"][0].pop("low")), "no complete gate.json"),
        (
            edit(GATE_FILE, lambda gate: gate["judgement"]["differences"][0].update(opponent_value=0.9)),
            "passed and reason and comparisons does not follow",
        ),
        (
            edit(GATE_FILE, lambda gate: gate["judgement"]["differences"][0].update(low=-0.01)),
            "passed and reason and comparisons does not follow",
        ),
    ],
)
def test_a_model_that_lacks_a_part_of_it_is_refused(
    settings: Settings, model: Path, change: Callable[[Path], object], observed: str
) -> None:
    change(model.parent / "evidence")
    with pytest.raises(ModelError, match=observed):
        admit(settings, model)


def test_a_model_that_lost_against_the_baseline_is_refused(settings: Settings, model: Path) -> None:
    write_evidence(model, "toys.model", wins=False)
    with pytest.raises(ModelError, match="did not pass the gate"):
        admit(settings, model)


def test_files_that_are_others_than_the_registered_ones_are_refused(settings: Settings, model: Path) -> None:
    digest = model_files.digest(model)
    (model / "model.json").write_text("{ }", encoding="utf-8")
    with pytest.raises(ModelError, match="digest"):
        admission.require(settings, model, name="toys.model", digest=digest)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
@pytest.mark.parametrize(
    ("evidence", "observed"), [("none", "lacks its files or its evidence"), ("lost", "is not signed")]
)
def test_a_version_that_was_planted_by_its_alias_alone_is_refused(
    model: Path, tmp_path: Path, evidence: str, observed: str
) -> None:
    settings = Settings(home=tmp_path / "home", profile="test")
    registry = Registry(settings)
    experiment = registry.client.create_experiment("planted", (tmp_path / "home" / "mlflow" / "artifacts").as_uri())
    run_id = registry.client.create_run(experiment).info.run_id
    registry.client.log_artifacts(run_id, str(model), MODEL_FOLDER)
    if evidence == "lost":
        registry.client.log_artifacts(run_id, str(write_evidence(model, "toys.model", wins=False)), EVIDENCE_FOLDER)
    registry.client.create_registered_model("toys.model")
    source = f"{registry.client.get_run(run_id).info.artifact_uri}/{MODEL_FOLDER}"
    tags = {"digest": model_files.digest(model), "gate": "passed"}
    planted = registry.client.create_model_version("toys.model", source, run_id, tags=tags)
    registry.client.set_registered_model_alias("toys.model", CHAMPION, planted.version)
    with pytest.raises(ModelError, match=observed):
        admission.champion(settings, "toys.model")


UNSIGNED = [
    (lambda root: (root / "signature" / "model.sig").unlink(), "it is not signed"),
    (lambda root: (root / "signature" / "model.sig").write_text("{}"), "its signature does not hold"),
    (lambda root: (root / "evidence" / GATE_FILE).write_text("{}"), "its signature does not hold"),
    (lambda root: (root / "evidence" / "more.json").write_text("{}"), "its signature does not hold"),
    (lambda root: (root / "evidence" / CARD_FILE).unlink(), "its signature does not hold"),
    (lambda root: linked(root / "evidence"), "is a symlink"),
]


@pytest.mark.parametrize(("change", "observed"), UNSIGNED)
def test_evidence_that_changed_after_the_signature_is_refused(
    settings: Settings, model: Path, change: Callable[[Path], object], observed: str
) -> None:
    admit(settings, model)
    change(model.parent)
    with pytest.raises(ModelError, match=observed):
        admission.require(settings, model, name="toys.model", digest=model_files.digest(model))


def test_a_signature_of_another_home_is_refused(settings: Settings, model: Path, tmp_path: Path) -> None:
    other = Settings(home=tmp_path / "other", profile="test")
    signed(other, model)
    with pytest.raises(ModelError, match="does not hold.*Key mismatch"):
        admission.require(settings, model, name="toys.model", digest=model_files.digest(model))
    linked(model.parent / "evidence")
    with pytest.raises(ModelError, match=r"cannot be signed.*symlink"):
        signed(other, model)


def test_homes_that_share_a_folder_of_keys_admit_each_others_models(
    settings: Settings, model: Path, tmp_path: Path
) -> None:
    signed(settings, model)
    shared = Settings(home=tmp_path / "third", profile="test", model_keys=settings.root / "keys")
    admission.require(shared, model, name="toys.model", digest=model_files.digest(model))


def test_the_private_key_is_its_owners_and_its_loss_is_an_error(tmp_path: Path, model: Path) -> None:
    own = Settings(home=tmp_path / "own", profile="test")
    signed(own, model)
    private = own.root / "keys" / PRIVATE_KEY
    assert private.stat().st_mode & 0o777 == 0o600
    private.unlink()
    with pytest.raises(SettingsError, match="can be verified here, not registered"):
        signed(own, model)


@pytest.mark.parametrize("section", card_check.SECTIONS)
@pytest.mark.parametrize("how", ["without", "empty"])
def test_a_card_with_a_section_that_says_nothing_is_refused(
    settings: Settings, model: Path, section: str, how: str
) -> None:
    card = model.parent / "evidence" / CARD_FILE
    head, _, rest = card.read_text(encoding="utf-8").partition(f"## {section}\n")
    following = rest.partition("\n## ")[2]
    card.write_text(head + (f"## {section}\n\n- \n" if how == "empty" else "") + (following and f"## {following}"))
    with pytest.raises(ModelError, match=f"its card.md lacks the section {section}"):
        admit(settings, model)


def test_a_card_without_the_question_is_refused(settings: Settings, model: Path) -> None:
    card = model.parent / "evidence" / CARD_FILE
    sections = card.read_text(encoding="utf-8").partition("## ")[2]
    card.write_text(f"# toys.model\n\n## {sections}", encoding="utf-8")
    with pytest.raises(ModelError, match="lacks the question"):
        admit(settings, model)
