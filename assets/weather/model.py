"""The model that predicts the temperature three hours ahead at a station: trained, and registered behind a gate."""

from __future__ import annotations

from assets.weather.domain import contract, weather
from assets.weather.features import TEMPERATURE_V1
from assets.weather.recipe import temperature
from pipelines.models.assets import model_assets
from pipelines.models.drift_asset import drift_asset
from pipelines.models.judgement import Gate, Slice
from pipelines.models.spec import ModelSpec
from pipelines.orchestration.automation import when_inputs_are_good
from ray_jobs.programs import TABULAR

TEMPERATURE = ModelSpec(
    domain=weather,
    name="temperature",
    question="Which temperature will a station observe at this hour? Asked three hours before.",
    task="regression",
    program=TABULAR,
    recipes={"from_scratch": temperature},
    training_set=contract("gold/training_set"),
    features=TEMPERATURE_V1,
    # Hours of a station and a day share weather.
    gate=Gate(
        together=("station", "event_timestamp"),
        slices=(Slice("station", tolerance={"mae": 0.2}),),
    ),
    limits=(
        "Trained on three airports in and near New York in 2013; says nothing about other places or years.",
        "It knows no forecast and no other station: a front that arrives within the three hours is not foreseen.",
        "The interval is as wide in calm weather as in a storm; its level holds on average over all hours.",
    ),
)
training, registered = model_assets(TEMPERATURE)
drift = drift_asset(TEMPERATURE, automation=when_inputs_are_good())
