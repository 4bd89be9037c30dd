"""A filled online store, two small models, and the prediction service with them: in this process and on a Ray cluster."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from starlette.testclient import TestClient

from assets.flights.features import ARRIVAL_DELAY_V1
from assets.flights.recipe import arrival_delay
from assets.flights.service import arrival_delay_service
from feature_repo.filling import Materialized, materialize
from feature_repo.state import DomainStore
from pipelines.engine.session import Engine
from pipelines.features.declaration import FeatureView
from pipelines.machine import ports
from pipelines.models import model_files
from pipelines.models.service import ServiceSpec
from pipelines.settings import Settings
from ray_jobs.tabular.binary import Binary
from ray_jobs.tabular.calibration import Calibration
from ray_jobs.tabular.encoding import Encoder
from ray_jobs.tabular.model import Shape, TabularModel, WideAndDeep
from serving.door import access
from serving.predict import http
from serving.predict.calls import Candidate
from serving.predict.config import ServedModel, ServiceConfig
from serving.predict.outcome import Asked, Outcome
from serving.predict.router import Router
from serving.predict.service import PredictionService
from tests.pipelines.models.trained import KEYS, signed, write_evidence

if TYPE_CHECKING:
    from serving.predict.deploy import Endpoint

SERVICE = arrival_delay_service.name
BEGINNING = datetime(2013, 10, 1, tzinfo=UTC)
NOW = datetime(2013, 11, 1, 7, 15, tzinfo=UTC)
ENTITIES = {"origin": "EWR", "dest": "IAH", "carrier": "UA", "flight": 1545, "tailnum": "N14228"}
QUESTION = {
    "flight": "UA1545",
    "origin": "EWR",
    "destination": "IAH",
    "tail_number": "N14228",
    "scheduled_departure": "2013-11-01T05:15:00-04:00",
    "scheduled_arrival": "2013-11-01T08:29:00-05:00",
}
#: gold/origin_weather has no wind direction for this row, so the store holds a null.
NULL_FEATURE = "origin_weather__wind_u"

Fill = Callable[[Settings, datetime], Materialized]


def feature_value(name: str, when: datetime) -> float | None:
    """The value of a feature in the store, as of the last whole day before `when`."""
    if name == NULL_FEATURE:
        return None
    return float(len(name)) + (when - BEGINNING).days / 8


@dataclass(frozen=True, slots=True)
class Served:
    """A service in this process, with its settings, its configuration, its model, and a client that has the token."""

    settings: Settings
    config: ServiceConfig
    model: TabularModel
    client: TestClient


@pytest.fixture(scope="session")
def fill(engine: Engine) -> Fill:
    """Fills an online store up to an instant: one row a day for each view, for the entities of `QUESTION`."""
    days = [BEGINNING + timedelta(days=day) for day in range(1, 60)]

    def table(view: FeatureView) -> pa.Table:
        columns: dict[str, Any] = {key: [ENTITIES[key]] * len(days) for key in view.keys}
        for field, full_name in zip(view.fields, view.full_names, strict=True):
            columns[field] = [feature_value(full_name, day) for day in days]
        schema = [
            (name, pa.string() if isinstance(values[0], str) else pa.int32() if name == "flight" else pa.float64())
            for name, values in columns.items()
        ]
        times = ("event_timestamp", pa.timestamp("us", tz="UTC"))
        return pa.table(columns | {"event_timestamp": days}, schema=pa.schema([*schema, times]))

    views = ARRIVAL_DELAY_V1.views
    frames = {view.table.source_name: engine.session.createDataFrame(table(view)) for view in views}

    def run(settings: Settings, as_of: datetime) -> Materialized:
        return materialize(DomainStore(settings, "flights"), [ARRIVAL_DELAY_V1], frames, as_of=as_of)

    return run


@pytest.fixture(scope="session")
def make_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Settings]:
    """Settings with a home and a port of their own, at the platform time `NOW`."""

    def make() -> Settings:
        home = tmp_path_factory.mktemp("home")
        return Settings(
            profile="test", home=home, serving_port=ports.free_port(), clock=NOW.isoformat(), model_keys=KEYS
        )

    return make


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of two models of the real recipe, with their initial random weights."""
    recipe, random = arrival_delay(), np.random.default_rng(1)
    columns: dict[str, Any] = {name: random.normal(20, 10, size=300) for name in recipe.inputs}
    for name, values in {"carrier": ("UA", "B6"), "origin": ("EWR", "JFK"), "dest": ("IAH", "BOS")}.items():
        columns[name] = list(values) * 150
    encoder = Encoder.fit(columns, recipe)
    shape = Shape.of(encoder, Binary(), recipe)

    def save(seed: int) -> Path:
        torch.manual_seed(seed)
        network, folder = WideAndDeep(shape), tmp_path_factory.mktemp("trained") / "model"
        model = TabularModel(
            encoder=encoder,
            shape=shape,
            network=network,
            objective=Binary(Calibration(1.0, -0.2)),
            label="arrived_late",
        )
        model.save(folder)
        return folder

    return save(1), save(2)


def config_of(folder: Path, version: int = 1, service: ServiceSpec = arrival_delay_service) -> ServiceConfig:
    """The configuration that deploys a saved model, for which evidence that it may serve is written beside it."""
    write_evidence(folder, service.name)
    signed(Settings(profile="test", home=KEYS.parent / "home", model_keys=KEYS), folder)
    digest = model_files.digest(folder)
    served = ServedModel(name=service.name, version=version, digest=digest, folder=folder, metrics={"gate_auc": 0.7})
    return ServiceConfig(model=served, service=service.place)


def tamper(file: Path) -> None:
    """Changes one bit of a file."""
    content = bytearray(file.read_bytes())
    content[-7] ^= 1
    file.write_bytes(content)


class NoCandidate:
    """The candidate of a service that has none."""

    async def ask(self, asked: Sequence[Asked], digest: str, seconds: float) -> list[Outcome | str]:
        return ["nobody"] * len(asked)


def client_of(settings: Settings, config: ServiceConfig, candidate: Candidate | None = None) -> TestClient:
    """A client, with the token, of a service in this process."""
    token = access.token(settings, config.name)
    router = Router(PredictionService(config, settings), settings, candidate or NoCandidate())
    api = http.create(router, access.TokenCheck(token))
    return TestClient(api, headers={"Authorization": f"Bearer {token.get_secret_value()}"})


@pytest.fixture(scope="session")
def served(make_settings: Callable[[], Settings], fill: Fill, models: tuple[Path, Path]) -> Iterator[Served]:
    """The first model in a service in this process."""
    settings, config = make_settings(), config_of(models[0])
    fill(settings, NOW)
    with client_of(settings, config) as client:  # one event loop for all requests
        yield Served(settings, config, TabularModel.load(models[0]), client)


@pytest.fixture(scope="session")
def deployed(
    make_settings: Callable[[], Settings], fill: Fill, models: tuple[Path, Path]
) -> Iterator[tuple[Settings, Endpoint]]:
    """The first model, deployed on a Ray cluster of this machine."""
    from pipelines.machine import ray_connection, ray_environment
    from serving.predict import deploy

    settings = make_settings()
    fill(settings, NOW)
    with ray_connection.connect(settings) as cluster:
        from ray import serve

        yield settings, deploy.deploy(settings, config_of(models[0]))
        serve.shutdown()
    if cluster.origin == "started":
        shutil.rmtree(ray_environment.session_folder(settings), ignore_errors=True)
