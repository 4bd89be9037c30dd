"""The model that predicts whether a flight will arrive late: trained, registered behind a gate, served."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from assets.flights.domain import contract, flights
from assets.flights.features import ARRIVAL_DELAY_V1, ONLINE
from assets.flights.recipe import arrival_delay, arrival_delay_fine_tune
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.models.assets import model_assets
from pipelines.models.serve import serve
from pipelines.models.spec import ModelSpec
from ray_jobs.programs import TABULAR

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.models.registry import RegisteredModel
    from pipelines.settings import Settings

LIMITS = (
    "Trained on departures from New York in 2013; says nothing about other airports or years.",
    "Cancelled and diverted flights are not predicted: they have no arrival delay.",
    "The tail number is that of the aircraft that flew; a swap after the question was asked is already in the record.",
    "A cancellation is taken to be known at scheduled departure.",
)


ARRIVAL_DELAY = ModelSpec(
    domain=flights,
    name="arrival_delay",
    question="Will this flight arrive 15 or more minutes late? Asked two hours before scheduled departure.",
    task="binary",
    program=TABULAR,
    recipes={"from_scratch": arrival_delay, "fine_tune": arrival_delay_fine_tune},
    training_set=contract("gold/training_set"),
    features=ARRIVAL_DELAY_V1,
    limits=LIMITS,
)
training, registered = model_assets(ARRIVAL_DELAY)


@governed_asset(
    key=ARRIVAL_DELAY.key("serving"),
    kind="serving",
    owner=flights.owner,
    tags=flights.cost.of("serving"),
    kinds=("ray", "fastapi"),
    deps=[ARRIVAL_DELAY.key("models"), ONLINE],
    freshness=timedelta(days=30),
)
def served(run: GovernedRun) -> Iterator[Written]:
    """The champion behind the prediction service on Ray Serve, named by version and digest. Grain: one deployment."""
    yield serve(run, ARRIVAL_DELAY.registered_name, deploy=_deploy)


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
    return deploy(settings, ServiceConfig(model=model, feature_service=ARRIVAL_DELAY_V1.full_name)).url
