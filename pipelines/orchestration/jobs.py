"""The jobs that people and sensors start: each part of the road, and the whole."""

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
FINE_TUNE = {"ops": {"training__flights__arrival_delay": {"config": {"mode": "FINE_TUNE"}}}}

ingest = dg.define_asset_job(
    "ingest", selection=_tables - _training_set, description="Landed files to bronze, silver and gold."
)
reference = dg.define_asset_job(
    "reference", selection=_reference, description="The newest snapshots of airlines, airports and planes."
)
features = dg.define_asset_job(
    "features",
    selection=_training_set | dg.AssetSelection.groups("features"),
    description="The training set, and the online store moved to the platform's clock.",
)
online_features = dg.define_asset_job(
    "online_features",
    selection=dg.AssetSelection.groups("features"),
    description="The online store moved to the platform's clock.",
)
train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.groups("training", "models"),
    description="Train from scratch, evaluate, and register; the gate decides about the champion.",
)
deploy = dg.define_asset_job("deploy", selection=dg.AssetSelection.groups("serving"), description="Serve the champion.")
whole = dg.define_asset_job(
    "whole",
    selection=_tables | dg.AssetSelection.groups("features", *MODEL_GROUPS),
    description="The whole road: landed files to a served prediction, training from scratch.",
)
refresh = dg.define_asset_job(
    "refresh",
    selection=_tables | dg.AssetSelection.groups("features", *MODEL_GROUPS),
    config=FINE_TUNE,
    description="What new files ask for: tables and features move on, and the champion is fine-tuned on newer flights.",
)
outcomes = dg.define_asset_job(
    "outcomes",
    selection=_predictions,
    description="Logged predictions become a table and meet the outcomes that are known by now.",
)
events = dg.define_asset_job(
    "events",
    selection=_events,
    description="Pushed events that have landed become a table; features have them already.",
)
upkeep = dg.define_asset_job(
    "upkeep",
    selection=dg.AssetSelection.assets(
        *[["ops", "platform", step] for step in ("retention", "compaction", "vacuum", "pruning")]
    ),
    description="Old rows, small files, files that no version needs and old records go; what models name stays.",
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
