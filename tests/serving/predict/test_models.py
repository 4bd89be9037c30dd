"""A model is served only if its files are those of its digest."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.flights.service import arrival_delay_service
from pipelines.errors import ModelError
from pipelines.settings import Settings
from serving.predict.config import ServedModel
from serving.predict.models import install, load
from tests.serving.conftest import config_of, tamper


@pytest.fixture
def model(models: tuple[Path, Path], tmp_path: Path) -> ServedModel:
    return config_of(Path(shutil.copytree(models[0], tmp_path / "model"))).model


def test_an_installed_model_loads_after_its_source_is_gone(
    model: ServedModel, make_settings: Callable[[], Settings]
) -> None:
    settings = make_settings()
    installed = install(settings, model)
    shutil.rmtree(model.folder.parent)
    assert installed.folder.parent.name == model.digest
    assert load(settings, installed, arrival_delay_service).inputs


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_model_with_a_changed_byte_is_refused(
    name: str, model: ServedModel, make_settings: Callable[[], Settings]
) -> None:
    tamper(model.folder / name)
    with pytest.raises(ModelError, match="digest"):
        install(make_settings(), model)
    with pytest.raises(ModelError, match="digest"):
        load(make_settings(), model, arrival_delay_service)


def test_a_model_with_a_pickle_is_refused(model: ServedModel, make_settings: Callable[[], Settings]) -> None:
    (model.folder / "extra.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match="pickles are never loaded"):
        install(make_settings(), model)


def test_a_damaged_copy_is_refused_and_replaced_from_an_intact_source(
    model: ServedModel, make_settings: Callable[[], Settings]
) -> None:
    settings = make_settings()
    installed = install(settings, model)
    tamper(installed.folder / "model.json")
    with pytest.raises(ModelError, match="digest"):
        install(settings, installed)
    assert load(settings, install(settings, model), arrival_delay_service).inputs
