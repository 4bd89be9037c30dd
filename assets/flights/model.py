"""The model that predicts whether a flight will arrive late: trained, and registered behind a gate."""

from __future__ import annotations

from assets.flights.domain import contract, flights
from assets.flights.features import ARRIVAL_DELAY_V1
from assets.flights.recipe import arrival_delay, arrival_delay_fine_tune
from pipelines.models.assets import model_assets
from pipelines.models.drift_asset import drift_asset
from pipelines.models.judgement import Gate, Slice
from pipelines.models.rollout_plan import Guard, Outcomes, Rollout
from pipelines.models.search import Choice, LogUniform, Search, Uniform
from pipelines.models.spec import ModelSpec
from pipelines.orchestration.automation import when_inputs_are_good
from ray_jobs.programs import TABULAR

LIMITS = (
    "Trained on departures from New York in 2013; says nothing about other airports or years.",
    "Cancelled and diverted flights are not predicted: they have no arrival delay.",
    "The tail number is that of the aircraft that flew; a swap after the question was asked is already in the record.",
    "A cancellation is taken to be known at scheduled departure.",
)


OUTCOMES = Outcomes(contract("gold/prediction_outcomes"), "arrived_late")
GUARDS = (
    Guard("errors", 0.01, by=("origin",)),
    Guard("latency_p50", 2.0),
    Guard("latency_p99", 2.0, minimum=200),
    Guard("disagreement", 0.3),
    Guard("score", 0.05),
    Guard("missing", 0.05),
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
    # Flights of an airport and a day share weather and queues: one by one, they count as more evidence than they are.
    gate=Gate(
        together=("origin", "event_timestamp"),
        slices=(Slice("origin", tolerance={"log_loss": 0.005}), Slice("carrier", tolerance={"log_loss": 0.01})),
        # Half a week of flights, on which a fine-tuned model is judged, seldom shows that it is better.
        allowance={"auc": 0.005, "log_loss": 0.002},
    ),
    rollout=Rollout.canary((0.05, 0.25), answers=300, outcomes=OUTCOMES, guards=GUARDS),
    search=Search(
        space={
            "learning_rate": LogUniform(1e-3, 3e-2),
            "weight_decay": LogUniform(1e-2, 1.0),
            "dropout": Uniform(0.1, 0.6),
            "hidden_widths": Choice((32,), (64, 32), (128, 64)),
        },
        trials=20,
        max_minutes=30,
        grace_period=2,
    ),
)
training, registered = model_assets(ARRIVAL_DELAY)
drift = drift_asset(ARRIVAL_DELAY, automation=when_inputs_are_good())
