"""Serving a model: its champion goes behind the prediction service, by digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg

from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.models import admission
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.settings import Settings


def serve(run: GovernedRun, model: str, *, deploy: Callable[[Settings, RegisteredModel, Path], str]) -> Written:
    """Puts the champion behind the prediction service.

    Args:
        run: The run of the serving asset.
        model: The model's name in the registry.
        deploy: Deploys the champion from the folder with its verified files, and returns the service's URL.

    Raises:
        ModelError: if there is no champion, or it lacks what a model needs to serve (`admission`).
    """
    settings = run.platform.settings
    champion, folder = admission.champion(Registry(settings), model)
    url = deploy(settings, champion, folder)
    run.record_input(Dataset(f"models/{'/'.join(model.split('.'))}", str(champion.version)))
    metadata = {"url": dg.MetadataValue.url(url), "model": str(champion), "digest": champion.digest}
    return Written(Dataset(run.declaration.name, champion.digest, run.declaration.owner), metadata)
