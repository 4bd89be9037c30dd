"""The jobs that people and sensors start: one for each stage from landed files to serving, and one for all of them."""

from __future__ import annotations

import dagster as dg

MODEL_GROUPS = ("training", "models", "serving")

_predictions = dg.AssetSelection.assets(
    *[[zone, "flights", "predictions"] for zone in ("landing", "bronze", "silver", "quarantine")],
    ["gold", "flights", "prediction_outcomes"],
)
_events = dg.AssetSelection.assets(*[[zone, "flights", "movements"] for zone in ("bronze", "silver", "quarantine")])
_tables = dg.AssetSelection.groups("bronze", "silver", "quarantine", "gold") - _predictions - _events
_training_set = dg.AssetSelection.assets(["gold", "flights", "training_set"])
_reference = dg.AssetSelection.assets(
    *[
        [zone, "flights", table]
        for zone in ("bronze", "silver", "quarantine")
        for table in ("airlines", "airports", "planes")
    ]
)
#: Run configuration under which the flights model is fine-tuned instead of trained from scratch.
FINE_TUNE = {"ops": {"training__flights__arrival_delay": {"config": {"mode": "FINE_TUNE"}}}}

ingest = dg.define_asset_job(
    "ingest", selection=_tables - _training_set, description="Writes landed files to bronze, silver and gold."
)
reference = dg.define_asset_job(
    "reference", selection=_reference, description="Writes the newest snapshots of airlines, airports and planes."
)
features = dg.define_asset_job(
    "features",
    selection=_training_set | dg.AssetSelection.groups("features"),
    description="Writes the training set, and updates the online store to the platform's clock.",
)
online_features = dg.define_asset_job(
    "online_features",
    selection=dg.AssetSelection.groups("features"),
    description="Updates the online store to the platform's clock.",
)
train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.groups("training", "models"),
    description="Trains from scratch, evaluates and registers; the gate decides whether the model becomes champion.",
)
deploy = dg.define_asset_job(
    "deploy", selection=dg.AssetSelection.groups("serving"), description="Serves the champion."
)
whole = dg.define_asset_job(
    "whole",
    selection=_tables | dg.AssetSelection.groups("features", *MODEL_GROUPS),
    description="Everything from landed files to a served model; trains from scratch.",
)
refresh = dg.define_asset_job(
    "refresh",
    selection=_tables | dg.AssetSelection.groups("features", *MODEL_GROUPS),
    config=FINE_TUNE,
    description="Writes new files to tables and features, fine-tunes the champion on newer flights, and serves it.",
)
outcomes = dg.define_asset_job(
    "outcomes",
    selection=_predictions,
    description="Writes logged predictions to a table and joins them with the outcomes that are known by now.",
)
events = dg.define_asset_job(
    "events",
    selection=_events,
    description="Writes pushed events that have landed to a table; the online features have them already.",
)
upkeep = dg.define_asset_job(
    "upkeep",
    selection=dg.AssetSelection.assets(
        *[["ops", "platform", step] for step in ("retention", "compaction", "vacuum", "pruning")]
    ),
    description="Removes old rows, unneeded files and old records, and merges small files; keeps what models name.",
)

JOBS = [
    ingest,
    reference,
    features,
    online_features,
    train,
    deploy,
    whole,
    refresh,
    outcomes,
    events,
    upkeep,
]
