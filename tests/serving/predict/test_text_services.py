"""Models that read texts behind HTTP: callers get what the model says, and each answer is on record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

from assets.packages.recipe import summaries, topic
from pipelines import settings as environment
from pipelines.models import prediction_log
from pipelines.models.answers import Predictor
from pipelines.models.service import ServiceSpec
from pipelines.settings import Settings
from ray_jobs.core.multiclass import Multiclass
from ray_jobs.text.label_model import LabelModel, Reads
from ray_jobs.text.language_model import LanguageModel, Said
from ray_jobs.text.networks import labels_network_of, network_of
from tests.ray_jobs.text import tiny
from tests.serving.conftest import client_of, config_of
from tests.serving.text_services import summaries_service, topic_service

TEXTS = ("the sky is blue", "grass is <|end|> green")
LABELS = ("Internet", "Multimedia")
Serve = Callable[[ServiceSpec], AbstractContextManager[TestClient]]


@pytest.fixture
def settings(make_settings: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = make_settings()
    monkeypatch.setattr(environment, "get", lambda: made)
    return made


@pytest.fixture
def client(settings: Settings) -> Callable[[ServiceSpec, Path], TestClient]:
    """A client, with the token, of a service of the model in a folder."""

    def make(spec: ServiceSpec, folder: Path) -> TestClient:
        return client_of(settings, config_of(folder, service=spec))

    return make


@pytest.fixture
def language_model(tmp_path: Path) -> Path:
    base = tiny.language_model(tmp_path / "llama")
    recipe = dataclasses.replace(summaries(), base=base, answer_tokens=6)
    torch.manual_seed(3)
    network = network_of(base, recipe.adapter, tmp_path)
    LanguageModel(base=base, said=Said.of(recipe), network=network, home=tmp_path).save(tmp_path / "trained" / "model")
    return tmp_path / "trained" / "model"


@pytest.fixture
def label_model(tmp_path: Path) -> Path:
    base = tiny.encoder(tmp_path / "bert")
    recipe = dataclasses.replace(topic(), base=base)
    torch.manual_seed(3)
    network = labels_network_of(base, len(LABELS), tmp_path, train_encoder=False)
    LabelModel(Reads.of(recipe), network, Multiclass(LABELS), tmp_path).save(tmp_path / "trained" / "model")
    return tmp_path / "trained" / "model"


def _answers_of(model: Predictor, column: str) -> list:
    return list(model.answer({column: list(TEXTS)}))


def test_a_language_model_answers_with_the_text_that_it_writes(
    settings: Settings, client: Callable[[ServiceSpec, Path], TestClient], language_model: Path
) -> None:
    with client(summaries_service, language_model) as caller:
        assert caller.get("/readyz").json() == {"status": "ready"}
        assert caller.get("/v1/model").json()["task"] == "text"
        answer = caller.post("/v1/predict", json={"text": TEXTS[0]})
        both = caller.post("/v1/predict:batch", json={"questions": [{"text": text} for text in TEXTS]})
        refused = caller.post("/v1/predict", json={"text": ""})
    expected = [said.text for said in _answers_of(summaries_service.model.program.predictor(language_model), "body")]
    assert answer.json()["text"] == expected[0]
    assert [each["text"] for each in both.json()["predictions"]] == expected
    assert (answer.json()["features"], answer.json()["missing"]) == ({}, [])
    assert refused.status_code == 422
    logged = list(prediction_log.read(prediction_log.folder(settings, summaries_service.name)))
    assert [record["text"] for record in logged] == [expected[0], *expected]
    assert logged[0]["question"] == {"text": TEXTS[0]}


def test_a_classifier_of_texts_answers_with_the_probabilities_of_its_labels(
    client: Callable[[ServiceSpec, Path], TestClient], label_model: Path
) -> None:
    with client(topic_service, label_model) as caller:
        both = caller.post("/v1/predict:batch", json={"questions": [{"text": text} for text in TEXTS]})
    expected = _answers_of(topic_service.model.program.predictor(label_model), "text")
    assert [each["probabilities"] for each in both.json()["predictions"]] == [dict(each.by_label) for each in expected]
    assert [each["label"] for each in both.json()["predictions"]] == [each.label for each in expected]
