"""Made-up tables of which a network learns more than a linear model: a number for a regression, a text for many labels."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from pipelines.models.program import Window
from ray_jobs.core.dataset import DatasetVersion
from ray_jobs.tabular.recipe import Recipe

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, ROWS_PER_DAY = 100, 40
LABELS = ("green", "red", "yellow")


def made_up_table(folder: Path) -> DatasetVersion:
    """100 days of 40 rows. `later` follows from `now`, the hour and the place; `kind` from the distance of two numbers."""
    random = np.random.default_rng(7)
    n = DAYS * ROWS_PER_DAY
    hour = np.tile(np.arange(ROWS_PER_DAY) * 24 / ROWS_PER_DAY, DAYS)
    days = np.repeat(np.arange(DAYS), ROWS_PER_DAY)
    place = random.choice(["coast", "hill"], n)
    now = 15 + 8 * random.standard_normal(n)
    swing = np.where(place == "hill", 8.0, -2.0) * np.sin(2 * np.pi * hour / 24)
    x, y = random.standard_normal((2, n))
    ring = np.digitize(np.hypot(x, y) + 0.1 * random.standard_normal(n), [0.9, 1.6])
    columns = {
        "row": [f"r{i:05d}" for i in range(n)],
        "event_timestamp": [START + timedelta(days=int(d), hours=float(h)) for d, h in zip(days, hour, strict=True)],
        "known_at": [START + timedelta(days=int(d), hours=float(h) + 3) for d, h in zip(days, hour, strict=True)],
        "later": now + swing + 0.5 * random.standard_normal(n),
        "kind": [LABELS[i] for i in ring],
        "now": [None if i % 500 == 7 else value for i, value in enumerate(now.tolist())],
        "hour": hour,
        "x": x,
        "y": y,
        "place": place,
    }
    uri = str(folder / "made_up")
    write_deltalake(uri, pa.table(columns).cast(SCHEMA))
    return DatasetVersion(uri, 0)


_INSTANT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [("row", pa.string()), ("event_timestamp", _INSTANT), ("known_at", _INSTANT), ("later", pa.float64()),
     ("kind", pa.string()), *[(name, pa.float64()) for name in ("now", "hour", "x", "y")], ("place", pa.string())]
)  # fmt: skip

REGRESSION = Recipe(
    model_name="later",
    task="regression",
    label="later",
    row_key="row",
    time_column="event_timestamp",
    known_at_column="known_at",
    numeric=("now", "hour"),
    categorical=("place",),
    train_window=Window(START, START + timedelta(days=80)),
    gate_window=Window(START + timedelta(days=80), START + timedelta(days=100)),
    interval_level=0.9,
    baseline_column="now",
    holdout_every_days=5,
    epochs=12,
    learning_rate=0.01,
    dropout=0.1,
    weight_decay=0.01,
)


def multiclass(**changes: Any) -> Recipe:
    """The recipe of a model that tells `kind`."""
    recipe = replace(
        REGRESSION, model_name="kind", task="multiclass", label="kind", numeric=("x", "y"), categorical=(),
        interval_level=None, baseline_column=None,
    )  # fmt: skip
    return replace(recipe, **changes)
