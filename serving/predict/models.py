"""The served models: stored by digest with their evidence, admitted before each load, never a pickle."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pipelines.errors import ModelError
from pipelines.models import admission
from pipelines.models.answers import Predictor
from pipelines.models.registry import EVIDENCE_FOLDER, MODEL_FOLDER
from pipelines.models.service import ServiceSpec
from pipelines.models.signature import SIGNATURE_FOLDER
from pipelines.settings import Settings
from serving.predict.config import ServedModel


def folder(settings: Settings, name: str, digest: str) -> Path:
    """The folder of a served model's files, by its name and digest; its evidence lies beside it."""
    return settings.root / "serving" / "models" / name / digest / MODEL_FOLDER


def install(settings: Settings, model: ServedModel) -> ServedModel:
    """Copies a model and its evidence to the home folder (`folder`), so that it can be served without its source.

    Returns:
        The same model in that folder.

    Raises:
        ModelError: if the files are not those of the digest, hold anything but safetensors and JSON, or lack what a
            model needs to serve (`admission`).
    """
    target = folder(settings, model.name, model.digest)
    installed = model.model_copy(update={"folder": target})
    if model.folder != target:
        _require(settings, model)
        root = target.parent
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent) as work:
            copy = Path(work) / "copy"
            shutil.copytree(model.folder, copy / MODEL_FOLDER)
            for part in (EVIDENCE_FOLDER, SIGNATURE_FOLDER):
                shutil.copytree(model.folder.parent / part, copy / part)
            if root.exists() and not _admitted(settings, installed):
                root.rename(Path(work) / "damaged")
            if not root.exists():
                copy.rename(root)
    _require(settings, installed)
    return installed


def load(settings: Settings, model: ServedModel, spec: ServiceSpec) -> Predictor:
    """Loads the model if it may serve; raises ModelError otherwise."""
    _require(settings, model)
    return spec.model.program.predictor(model.folder)


def _require(settings: Settings, model: ServedModel) -> None:
    admission.require(settings, model.folder, name=model.name, digest=model.digest)


def _admitted(settings: Settings, model: ServedModel) -> bool:
    try:
        _require(settings, model)
    except ModelError:
        return False
    return True
