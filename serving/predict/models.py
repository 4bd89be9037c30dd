"""The served models: stored by digest, verified each time before they are loaded, never a pickle."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pipelines.models import model_files
from pipelines.settings import Settings
from ray_jobs.tabular.model import TabularModel
from serving.predict.config import ServedModel


def folder(settings: Settings, digest: str) -> Path:
    """The folder of a served model, by its digest."""
    return settings.root / "serving" / "models" / digest


def install(settings: Settings, model: ServedModel) -> ServedModel:
    """Copies a model to `<home>/serving/models/<digest>`, so that it can be served again without its source.

    Returns:
        The same model in that folder.

    Raises:
        ModelError: if the files are not those of the digest, or hold anything but safetensors and JSON.
    """
    target = folder(settings, model.digest)
    if model.folder != target:
        model_files.verify(model.folder, model.digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            copy = Path(shutil.copytree(model.folder, Path(work) / "model"))
            if target.exists() and model_files.digest(target) != model.digest:
                target.rename(Path(work) / "damaged")
            if not target.exists():
                copy.rename(target)
    model_files.verify(target, model.digest)
    return model.model_copy(update={"folder": target})


def load(model: ServedModel) -> TabularModel:
    """Loads the model if its files are those of its digest; raises ModelError otherwise."""
    model_files.verify(model.folder, model.digest)
    return TabularModel.load(model.folder)
