"""Tiny base models, and rows of texts in folds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.models.program import Fold
from ray_jobs.core.dataset import Rows
from ray_jobs.text.base_models import BaseModel
from ray_jobs.text.recipe import ClassifierRecipe, LanguageRecipe
from tests.ray_jobs.text import tiny

COLOURS = {"the sky": "blue", "grass": "green", "coal": "black", "snow": "white"}
TRAIN, GATE = Fold("fold", ("train",), holdout=("calibrate",)), Fold("fold", ("gate",))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny.language_model(tmp_path_factory.mktemp("bases") / "llama")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny.encoder(tmp_path_factory.mktemp("bases") / "bert")


@pytest.fixture(scope="session")
def colours(tiny_llama: BaseModel) -> LanguageRecipe:
    """Asks for the colour of a thing."""
    return LanguageRecipe(
        model_name="colours", label="colour", row_key="thing", prompt="Say the colour of: {thing}", base=tiny_llama,
        sequence_tokens=96, answer_tokens=12, batch_size=4, train_window=TRAIN, gate_window=GATE,
    )  # fmt: skip


@pytest.fixture(scope="session")
def topics(tiny_bert: BaseModel) -> ClassifierRecipe:
    """Learns the colour of a thing as a label."""
    return ClassifierRecipe(
        model_name="topics", label="colour", row_key="thing", texts=("thing", "note"), base=tiny_bert, batch_size=4, train_window=TRAIN, gate_window=GATE
    )  # fmt: skip


@pytest.fixture
def rows() -> Rows:
    """Eight things with notes of several lengths, one of them null, and their colours."""
    things = [*COLOURS, *(f"{thing} is a long text about nothing" for thing in COLOURS)]
    notes = ["", None, "words", "a long text", "", "", "text", "but"]
    columns = {"thing": things, "note": notes, "colour": [*COLOURS.values()] * 2}
    arrays = {name: np.array(values, dtype=object) for name, values in columns.items()}
    return Rows(arrays, arrays["colour"])


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder for the models that a test loads."""
    from pipelines import settings

    monkeypatch.setattr(settings, "get", lambda: settings.Settings(profile="test", home=tmp_path / "home"))
    return tmp_path / "home"
