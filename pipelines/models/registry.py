"""The model registry on MLflow: takes models with a run record alone, and returns files by version and digest."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import ModelError, NotFoundError
from pipelines.models import artifact_roots, model_files, signature
from pipelines.models.run_record import RunRecord
from pipelines.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
MODEL_FOLDER = "model"
EVIDENCE_FOLDER = "evidence"
#: The tag of a model version that became the champion.
PROMOTED_AT = "promoted_at"
#: MLflow's error codes for a model, a version or an alias that does not exist.
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """One registered version of a model.

    Attributes:
        name: The model's name.
        version: Counts from 1.
        digest: Identifies the content of the files.
        run_id: The MLflow run that tracked the training.
        metrics: The metrics of the run whose names begin with `gate_`.
        promoted_at: When it became the champion the first time, ISO 8601 in UTC; None if it never did.
        passed: Whether the gate's verdict of its training was a pass, by the registry's tag.
    """

    name: str
    version: int
    digest: str
    run_id: str
    metrics: Mapping[str, float]
    promoted_at: str | None = field(default=None, compare=False)
    passed: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name}@{self.version} ({self.digest[:12]})"


class Registry:
    """MLflow's tracking and registry, in the home folder or on the server that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        if self._client is None:
            from mlflow import MlflowClient

            (self._settings.root / "mlflow").mkdir(parents=True, exist_ok=True)
            artifact_roots.rebase(self._settings)
            self._client = MlflowClient(self._settings.mlflow)
        return self._client

    def log_run(
        self,
        *,
        experiment: str,
        model: Path,
        record: RunRecord,
        metrics: Mapping[str, float],
        history: Mapping[str, list[float]],
        evidence: Path,
        tags: Mapping[str, str],
    ) -> str:
        """Tracks a finished training run in MLflow.

        Args:
            experiment: Created if it does not exist.
            model: The folder with the model's files.
            record: Its hyperparameters become the run's parameters.
            metrics: Value by name.
            history: A metric's values, one for each epoch, by name.
            evidence: The folder with record, card, gate file and plots.
            tags: Tags of the run.

        Returns:
            The MLflow run id.
        """
        import time

        from mlflow.entities import Metric, Param, RunTag

        client = self.client
        run = client.create_run(self._experiment(experiment), run_name=record.dagster_run_id[:8])
        run_id, now = run.info.run_id, int(time.time() * 1000)
        points = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
        for name, values in history.items():
            points += [Metric(name, float(value), now, step) for step, value in enumerate(values)]
        params = [Param(name, str(value)[:500]) for name, value in record.hyperparameters.items()]
        run_tags = [RunTag(name, value) for name, value in tags.items()]
        client.log_batch(run_id, metrics=points, params=params, tags=run_tags)
        client.log_artifacts(run_id, str(model), MODEL_FOLDER)
        client.log_artifacts(run_id, str(evidence), EVIDENCE_FOLDER)
        client.set_terminated(run_id)
        return run_id

    def register(self, name: str, *, run_id: str, tags: Mapping[str, str]) -> RegisteredModel:
        """Signs a tracked run's model and registers it as a version of `name`; returns the same one for the same run.

        Raises:
            ModelError: if the run has no complete run record, or its files are not those that the record names.
            SettingsError: if the private key of this home is gone.
        """
        import mlflow.exceptions

        folder = self.download_run(run_id)
        record = RunRecord.read(folder.parent / EVIDENCE_FOLDER)
        if record.artifacts != model_files.checksums(folder):
            raise ModelError(
                object=f"model of run {run_id}",
                observed="its files are not those of its run record",
                expected="the files whose checksums the record holds",
                next_step="train it again; do not register these files",
            )
        if not (folder.parent / signature.SIGNATURE_FOLDER).exists():
            with tempfile.TemporaryDirectory() as work:
                signed = signature.sign(self._settings, folder.parent, into=Path(work))
                self.client.log_artifact(run_id, str(signed), signature.SIGNATURE_FOLDER)
        with contextlib.suppress(mlflow.exceptions.MlflowException):
            self.client.create_registered_model(name)
        for version in self.client.search_model_versions(f"name='{name}'"):
            if version.run_id == run_id:
                return self._model(version)
        digest = model_files.digest(folder)
        source = f"{self.client.get_run(run_id).info.artifact_uri}/{MODEL_FOLDER}"
        created = self.client.create_model_version(name, source, run_id, tags={"digest": digest, **tags})
        return self._model(created)

    def promote(self, model: RegisteredModel) -> None:
        """Makes this version the champion, and notes when; doing it again changes nothing."""
        version = str(model.version)
        self.client.set_registered_model_alias(model.name, CHAMPION, version)
        if model.promoted_at is None:
            self.client.set_model_version_tag(model.name, version, PROMOTED_AT, datetime.now(UTC).isoformat())

    def champion(self, name: str) -> RegisteredModel | None:
        """The version that serves now, or None before the first."""
        import mlflow.exceptions

        try:
            return self._model(self.client.get_model_version_by_alias(name, CHAMPION))
        except mlflow.exceptions.MlflowException as error:
            if error.error_code not in ABSENT:
                raise  # the registry did not answer: that is not "no champion"
            return None

    def versions(self, name: str) -> list[RegisteredModel]:
        """Every registered version, oldest first."""
        models = [self._model(version) for version in self.client.search_model_versions(f"name='{name}'")]
        return sorted(models, key=lambda model: model.version)

    def version(self, name: str, version: int) -> RegisteredModel:
        """One version of a model; raises NotFoundError if it is not registered."""
        import mlflow.exceptions

        try:
            return self._model(self.client.get_model_version(name, str(version)))
        except mlflow.exceptions.MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            raise NotFoundError(
                object=f"model {name}@{version}",
                observed=str(error),
                expected="a registered version",
                next_step=f"goldpath materialize models/{name.replace('.', '/')} registers a trained model",
            ) from None

    def download(self, model: RegisteredModel) -> Path:
        """The model's files on this machine; raises ModelError if its digest or its signature does not hold."""
        folder = self.download_run(model.run_id)
        model_files.verify(folder, model.digest)
        signature.verify(self._settings, folder.parent)
        return folder

    def record(self, model: RegisteredModel) -> RunRecord:
        """The run record of a registered version; raises ModelError if it is incomplete."""
        return RunRecord.read(self.download_run(model.run_id).parent / EVIDENCE_FOLDER)

    def download_run(self, run_id: str) -> Path:
        """Copies a run's model, evidence and signature below `<home>/models`; returns the model's folder, not verified.

        A copy is never changed, since others may read it: other content gets another folder, named by its digest.

        Raises:
            ModelError: if the run's files lie outside the home's root, or one of them is a link.
        """
        uri = str(self.client.get_run(run_id).info.artifact_uri)
        artifact_roots.require_inside(self._settings, uri, run_id=run_id)
        copies = self._settings.root / "models" / run_id
        copies.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=copies, prefix=".") as folder:
            copy = Path(folder, "copy")
            copy.mkdir()
            tracked = {file.path for file in self.client.list_artifacts(run_id)}
            for part in (MODEL_FOLDER, EVIDENCE_FOLDER, *({signature.SIGNATURE_FOLDER} & tracked)):
                self.client.download_artifacts(run_id, part, str(copy))
            target = copies / _digest(copy)
            damaged = target.exists() and _digest(target) != target.name
            if damaged:
                target.rename(Path(folder, "damaged"))
            with contextlib.suppress(OSError):  # another process has made the same copy
                copy.rename(target)
        return target / MODEL_FOLDER

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        location = None
        if not self._settings.mlflow_uri:
            location = (artifact_roots.root(self._settings) / name).as_uri()
        return str(self.client.create_experiment(name, artifact_location=location))

    def _model(self, version: ModelVersion) -> RegisteredModel:
        run_id = version.run_id or ""
        run = self.client.get_run(run_id)
        metrics = {name: value for name, value in run.data.metrics.items() if name.startswith("gate_")}
        digest = version.tags.get("digest", "")
        promoted_at = version.tags.get(PROMOTED_AT)
        passed = version.tags.get("gate") == "passed"
        return RegisteredModel(version.name, int(version.version), digest, run_id, metrics, promoted_at, passed)


def _digest(folder: Path) -> str:
    """One sha256 over the names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
