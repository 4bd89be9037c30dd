"""The registry takes runs with a complete run record alone, and returns the bytes that were registered."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from pydantic import SecretStr

from pipelines.errors import ModelError, NotFoundError
from pipelines.machine import ports
from pipelines.models import model_files, run_record
from pipelines.models.registry import EVIDENCE_FOLDER, MODEL_FOLDER, RegisteredModel, Registry
from pipelines.models.run_record import RECORD_FILE, RunRecord
from pipelines.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")

Track = Callable[..., str]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """One registry for all tests of the module; each test registers under its own name."""
    return Registry(Settings(home=tmp_path_factory.mktemp("home"), profile="test"))


@pytest.fixture
def name() -> str:
    return f"toys.model_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def track(registry: Registry, name: str, tmp_path_factory: pytest.TempPathFactory) -> Track:
    """Tracks a run of a model with the given weights; `change` edits the run's folder before."""

    def run(weights: bytes, *, change: Callable[[Path], object] = lambda folder: None) -> str:
        folder = tmp_path_factory.mktemp("run")
        model, evidence = folder / "model", folder / "evidence"
        model.mkdir()
        evidence.mkdir()
        (model / "model.safetensors").write_bytes(weights)
        (model / "model.json").write_text("{}", encoding="utf-8")
        record = RunRecord(
            created_at=run_record.now(), code_version="0123", code_dirty=False, feature_service="s", as_of_rule="r",
            dataset_versions={"gold/toys/training_set": 3}, hyperparameters={"layers": [8], "rate": 0.1},
            environment={"python": "3"}, base_model=None, base_image=None, accelerator="cpu",
            artifacts=model_files.checksums(model), dagster_run_id=str(uuid.uuid4()),
        )  # fmt: skip
        record.write(evidence)
        change(folder)
        return registry.log_run(
            experiment=name,
            model=model,
            record=record,
            metrics={"gate_auc": 0.7, "baseline_auc": 0.6},
            history={"train_loss": [0.5, 0.4]},
            evidence=evidence,
            tags={"cost_centre": "cc-7"},
        )

    return run


def test_a_tracked_run_keeps_its_metrics_parameters_and_history(registry: Registry, track: Track) -> None:
    run_id = track(b"w")
    run = registry.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"gate_auc": 0.7, "baseline_auc": 0.6, "train_loss": 0.4}
    assert run.data.params == {"layers": "[8]", "rate": "0.1"}
    assert run.data.tags["cost_centre"] == "cc-7"
    history = registry.client.get_metric_history(run_id, "train_loss")
    assert [(point.step, point.value) for point in history] == [(0, 0.5), (1, 0.4)]


def test_each_run_becomes_the_next_version_with_its_digest(registry: Registry, track: Track, name: str) -> None:
    first = registry.register(name, run_id=track(b"1"), tags={"gate": "passed"})
    second = registry.register(name, run_id=track(b"2"), tags={"gate": "failed"})
    assert (first.name, first.version, second.version) == (name, 1, 2)
    assert first.digest != second.digest
    assert first.metrics == {"gate_auc": 0.7}
    assert registry.version(name, 1) == first
    assert registry.versions(name) == [first, second]


def test_registering_a_run_again_returns_the_same_version(registry: Registry, track: Track, name: str) -> None:
    run_id = track(b"1")
    first = registry.register(name, run_id=run_id, tags={})
    registry.register(name, run_id=track(b"2"), tags={})
    assert registry.register(name, run_id=run_id, tags={}) == first
    assert [model.version for model in registry.versions(name)] == [1, 2]


def test_a_download_has_the_registered_bytes_and_record(registry: Registry, track: Track, name: str) -> None:
    model = registry.register(name, run_id=track(b"weights"), tags={})
    folder = registry.download(model)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert model_files.digest(folder) == model.digest
    assert registry.record(model).dataset_versions == {"gold/toys/training_set": 3}


def test_the_first_champion_is_promoted_and_the_next_replaces_it(registry: Registry, track: Track, name: str) -> None:
    first = registry.register(name, run_id=track(b"1"), tags={})
    assert registry.champion(name) is None
    registry.promote(first)
    assert registry.champion(name) == first
    second = registry.register(name, run_id=track(b"2"), tags={})
    assert registry.champion(name) == first
    registry.promote(second)
    assert registry.champion(name) == second


def test_an_unregistered_model_has_no_champion_and_no_version(registry: Registry, name: str) -> None:
    assert registry.champion(name) is None
    with pytest.raises(NotFoundError, match=f"{name}@7"):
        registry.version(name, 7)
    assert registry.versions(name) == []


def test_a_model_without_a_record_is_not_registered(registry: Registry, track: Track, name: str) -> None:
    run_id = track(
        b"1", change=lambda folder: (folder / "evidence" / RECORD_FILE).rename(folder / "evidence" / "x.json")
    )
    with pytest.raises(ModelError, match="no complete run record"):
        registry.register(name, run_id=run_id, tags={})
    assert registry.client.search_model_versions(f"name='{name}'") == []


def test_a_model_with_an_incomplete_record_is_not_registered(registry: Registry, track: Track, name: str) -> None:
    def forget(folder: Path) -> None:
        path = folder / "evidence" / RECORD_FILE
        document = json.loads(path.read_text(encoding="utf-8"))
        del document["dataset_versions"]
        path.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(ModelError, match="dataset_versions"):
        registry.register(name, run_id=track(b"1", change=forget), tags={})


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "model" / "model.safetensors").write_bytes(b"other"),
        lambda folder: (folder / "model" / "extra.json").write_text("{}", encoding="utf-8"),
        lambda folder: (folder / "model" / "model.json").unlink(),
    ],
    ids=["changed", "added", "removed"],
)
def test_files_that_differ_from_the_record_are_not_registered(
    registry: Registry, track: Track, name: str, change: Callable[[Path], object]
) -> None:
    with pytest.raises(ModelError, match="not those of its run record"):
        registry.register(name, run_id=track(b"1", change=change), tags={})
    assert registry.client.search_model_versions(f"name='{name}'") == []


def test_downloading_files_that_changed_in_the_store_raises_an_error(
    registry: Registry, track: Track, name: str
) -> None:
    model = registry.register(name, run_id=track(b"1"), tags={})
    stored = Path(str(registry.client.get_run(model.run_id).info.artifact_uri).removeprefix("file://")) / MODEL_FOLDER
    (stored / "model.safetensors").write_bytes(b"tampered")
    with pytest.raises(ModelError, match="as it was registered"):
        registry.download(model)


def test_reading_a_damaged_record_in_the_store_raises_an_error(registry: Registry, track: Track, name: str) -> None:
    model = registry.register(name, run_id=track(b"1"), tags={})
    stored = (
        Path(str(registry.client.get_run(model.run_id).info.artifact_uri).removeprefix("file://")) / EVIDENCE_FOLDER
    )
    (stored / RECORD_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="no complete run record"):
        registry.record(model)


def test_a_registry_that_does_not_answer_raises_an_error(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = Settings(home=tmp_path, profile="test", mlflow_uri=SecretStr(f"http://127.0.0.1:{ports.free_port()}"))
    unreachable = Registry(settings)
    with pytest.raises(MlflowException, match=r"127\.0\.0\.1"):
        unreachable.champion(name)
    with pytest.raises(MlflowException, match=r"127\.0\.0\.1"):
        unreachable.version(name, 1)


def test_the_text_of_a_model_has_name_version_and_digest() -> None:
    assert str(RegisteredModel("toys.model", 3, "0123456789abcdef", "run", {})) == "toys.model@3 (0123456789ab)"


def test_a_download_does_not_touch_the_copy_that_another_reads(registry: Registry, track: Track, name: str) -> None:
    model = registry.register(name, run_id=track(b"weights"), tags={})
    folder = registry.download(model)
    with (folder / "model.safetensors").open("rb") as weights:
        inode = (folder / "model.safetensors").stat().st_ino
        assert registry.download(model) == folder
        assert (folder / "model.safetensors").stat().st_ino == inode
        assert weights.read() == b"weights"


def test_a_copy_that_is_damaged_is_replaced(registry: Registry, track: Track, name: str) -> None:
    model = registry.register(name, run_id=track(b"weights"), tags={})
    (registry.download(model) / "model.safetensors").write_bytes(b"other")
    assert (registry.download(model) / "model.safetensors").read_bytes() == b"weights"


def test_a_copied_home_reads_and_writes_its_own_files(
    registry: Registry, track: Track, name: str, tmp_path: Path
) -> None:
    registered = registry.register(name, run_id=track(b"weights"), tags={})
    first = registry._settings.root
    moved = Registry(Settings(home=Path(shutil.copytree(first, tmp_path / "copied home")), profile="test"))
    copy = moved._settings.root  # a plain path to it
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    model = moved.version(name, registered.version)
    assert moved.download(model).is_relative_to(copy)
    uri = str(moved.client.get_run(model.run_id).info.artifact_uri)
    assert uri.startswith((copy / "mlflow" / "artifacts").as_uri())
    folder = moved.download(model).parent
    run_id = moved.log_run(
        experiment=name, model=folder / MODEL_FOLDER, record=moved.record(model), metrics={}, history={},
        evidence=folder / EVIDENCE_FOLDER, tags={},
    )  # fmt: skip
    assert (copy / "mlflow" / "artifacts" / name / run_id).is_dir()
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before


def test_files_outside_the_home_are_refused(registry: Registry, track: Track, name: str, tmp_path: Path) -> None:
    run_id = track(b"weights")
    uri = str(registry.client.get_run(run_id).info.artifact_uri)
    database = registry._settings.root / "mlflow" / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", [tmp_path.as_uri(), run_id])
    with pytest.raises(ModelError, match="plain files below"):
        registry.download_run(run_id)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", [uri, run_id])
    weights = Path(uri.removeprefix("file://")) / MODEL_FOLDER / "model.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="is a link"):
        registry.download_run(run_id)
