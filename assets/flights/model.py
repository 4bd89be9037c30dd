"""The model that predicts whether a flight will arrive late: trained, registered behind a gate, served."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

import dagster as dg

from assets.flights.domain import flights
from assets.flights.features import ARRIVAL_DELAY_V1, ONLINE
from assets.flights.recipe import arrival_delay, arrival_delay_fine_tune
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import Check, GovernedRun, Written
from pipelines.models.gate import METRICS
from pipelines.models.register import register
from pipelines.models.serve import serve
from pipelines.models.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.models.registry import RegisteredModel
    from pipelines.settings import Settings
    from ray_jobs.tabular.recipe import Recipe

MODEL = "flights.arrival_delay"
TRAINING = ("training", "flights", "arrival_delay")
REGISTERED = ("models", "flights", "arrival_delay")
SERVED = ("serving", "flights", "arrival_delay")
QUESTION = "Will this flight arrive 15 or more minutes late? Asked two hours before scheduled departure."
LIMITS = (
    "Trained on departures from New York in 2013; says nothing about other airports or years.",
    "Cancelled and diverted flights are not predicted: they have no arrival delay.",
    "The tail number is that of the aircraft that flew; a swap after the question was asked is already in the record.",
    "A cancellation is taken to be known at scheduled departure.",
)


class Mode(Enum):
    """The first weights of a training run: random ones, or the champion's."""

    FROM_SCRATCH = "from_scratch"
    FINE_TUNE = "fine_tune"


class TrainConfig(dg.Config):
    """The configuration of a training run. Windows are [start, end), ISO 8601 with offset; empty means the recipe's."""

    mode: Mode = Mode.FROM_SCRATCH
    train_start: str = ""
    train_end: str = ""
    gate_end: str = ""


def recipe(config: TrainConfig) -> Recipe:
    """The recipe of the config's mode, with the config's windows."""
    from ray_jobs.tabular.recipe import with_windows

    base = arrival_delay_fine_tune() if config.mode is Mode.FINE_TUNE else arrival_delay()
    return with_windows(base, config.train_start, config.train_end, config.gate_end)


@governed_asset(
    key=TRAINING,
    kind="training",
    owner=flights.owner,
    tags=flights.cost.of("training"),
    kinds=("pytorch", "ray"),
    inputs={"training_set": "gold/flights/training_set"},
    config=TrainConfig,
)
def training(run: GovernedRun, config: TrainConfig) -> Iterator[Written]:
    """A trained challenger with its run record, card and figures. Grain: one MLflow run per materialization.

    Trained on Ray from one version of the training set, from scratch or from the champion's weights, and compared
    with a logistic regression and the champion on flights that none of them was trained on.
    """
    from ray_jobs.tabular.challenge import challenge

    yield train(
        run,
        challenge,
        recipe(config),
        model=MODEL,
        question=QUESTION,
        limits=LIMITS,
        service=ARRIVAL_DELAY_V1.name,
        fine_tune=config.mode is Mode.FINE_TUNE,
    )


@governed_asset(
    key=REGISTERED,
    kind="model",
    owner=flights.owner,
    tags=flights.cost.of("training"),
    kinds=("mlflow",),
    deps=[TRAINING],
    check=Check(
        "gate", f"The challenger beats the baseline and the champion, by {' and '.join(METRICS)}", blocking=False
    ),
)
def registered(run: GovernedRun) -> Iterator[Written]:
    """The registered model, champion if it passed the gate. Grain: one version per trained challenger."""
    yield register(run, MODEL, trained_by=TRAINING)


@governed_asset(
    key=SERVED,
    kind="serving",
    owner=flights.owner,
    tags=flights.cost.of("serving"),
    kinds=("ray", "fastapi"),
    deps=[REGISTERED, ONLINE],
    freshness=timedelta(days=30),
)
def served(run: GovernedRun) -> Iterator[Written]:
    """The champion behind the prediction service on Ray Serve, named by version and digest. Grain: one deployment."""
    yield serve(run, MODEL, deploy=_deploy)


def _deploy(settings: Settings, champion: RegisteredModel, folder: Path) -> str:
    from serving.predict.config import ServedModel, ServiceConfig
    from serving.predict.deploy import deploy

    model = ServedModel(
        name=champion.name,
        version=champion.version,
        digest=champion.digest,
        folder=folder,
        metrics=dict(champion.metrics),
    )
    return deploy(settings, ServiceConfig(model=model, feature_service=ARRIVAL_DELAY_V1.name)).url
