"""The models that learn from the packages' texts: trained, and registered behind a gate."""

from __future__ import annotations

from assets.packages import recipe
from assets.packages.domain import contract, packages
from pipelines.features.declaration import NoFeatures
from pipelines.models.assets import model_assets
from pipelines.models.judgement import Gate
from pipelines.models.spec import ModelSpec
from ray_jobs.programs import CAUSAL_LM, TEXT_CLASSIFIER

SUMMARIES = ModelSpec(
    domain=packages,
    name="summaries",
    question="Which sentence sums up a function, given the rest of its docstring?",
    task="text",
    program=CAUSAL_LM,
    recipes={"from_scratch": recipe.summaries},
    training_set=contract("gold/summary_training_set"),
    features=NoFeatures(domain=packages.name, owner=packages.owner),
    limits=(
        "Knows docstrings in English, of the packages that were installed where it was trained.",
        "Writes what is likely, not what is true: a summary may name what the function does not do.",
    ),
    gate=Gate(metrics=("held_out_loss",), together=("distribution",), apart=("distribution",)),
    risk="minimal",
)
summaries_training, summaries_registered = model_assets(SUMMARIES)

TOPIC = ModelSpec(
    domain=packages,
    name="topic",
    question="Which topic of the trove classifiers is a passage about?",
    task="multiclass",
    program=TEXT_CLASSIFIER,
    recipes={"from_scratch": recipe.topic},
    training_set=contract("gold/topic_training_set"),
    features=NoFeatures(domain=packages.name, owner=packages.owner),
    limits=("Knows the topics that at least eight of the packages had that were installed where it was trained.",),
    gate=Gate(metrics=("log_loss",), together=("distribution",), apart=("distribution",)),
    risk="minimal",
)
topic_training, topic_registered = model_assets(TOPIC)
