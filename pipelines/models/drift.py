"""Whether a model still sees what it was trained on: its features in training, now, and in the questions it answers.

Two references are kept beside a model's files: of the training set's rows, with which the answered questions are
compared, and of each view's rows in the train window, with which its newest rows are compared. A training set has a
row for each question, a view one for each entity and instant, so one is not compared with the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import DamagedError
from pipelines.features import drift
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureService, FeatureView
from pipelines.features.distributions import Distribution, distribution
from pipelines.features.drift import Drift
from pipelines.machine import files
from pipelines.models import prediction_log
from pipelines.models.feature_versions import as_trained
from pipelines.models.program import Fold, Part, Recipe
from pipelines.models.registry import EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.models.spec import ModelSpec

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from pipelines.settings import Settings

REFERENCE_FILE = "features.json"
#: What is compared, in words.
NOW, SERVING = "training and now", "training and serving"
By = Mapping[str, Distribution]


@dataclass(frozen=True, slots=True)
class Reference:
    """The distributions of a model's features in its train window, by full name `view__feature`.

    Attributes:
        asked: Of the training set's rows: every input of the model.
        views: Of the rows of the views: the inputs that are features.
    """

    asked: By
    views: By

    def write(self, folder: Path) -> None:
        """Writes the reference into a folder of evidence."""
        parts = {"asked": self.asked, "views": self.views}
        saved = {part: {name: each.as_json() for name, each in by.items()} for part, by in parts.items()}
        files.replace(folder / REFERENCE_FILE, json.dumps(saved, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Reference | None:
        """The reference in a folder of evidence; None for a model that an older release trained.

        Raises:
            DamagedError: if it cannot be read.
        """
        path = folder / REFERENCE_FILE
        if not path.exists():
            return None
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            return cls(*({n: Distribution.from_json(d) for n, d in saved[part].items()} for part in ("asked", "views")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(
                object=f"file {path}",
                observed=f"{type(error).__name__}: {error}",
                expected="the distributions of the features that the model was trained on",
                next_step="restore the model's evidence in MLflow from a backup of the home folder; the next model "
                "that wins has its own",
            ) from error


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """The drift of a model's features at an instant: `champion` is the model that serves, None without one."""

    as_of: datetime
    champion: RegisteredModel | None
    drifts: tuple[Drift, ...]


def reference(
    spec: ModelSpec, features: FeatureService, recipe: Recipe, rows: DataFrame, tables: Mapping[str, DataFrame]
) -> Reference:
    """The reference of a model.

    Args:
        spec: The model.
        features: Its service, with the versions of the views that it is trained with.
        recipe: Its inputs, and its train window.
        rows: The training set.
        tables: A DataFrame for each Feast source name of the views, as the training set was computed from it.
    """
    types = drift.kinds({c.name: c.type for c in spec.training_set.columns if c.name in recipe.inputs})
    columns = {name: spec.training_set.column(name).type for name in types}
    asked = drift.values_of(_within(rows, recipe.train_window), columns, (recipe.row_key,))
    views: dict[str, Distribution] = {}
    for view in features.views:
        names = _features(view, recipe.inputs)
        kinds = drift.kinds({field: view.contract.column(field).type for field in names.values()})
        known = _within(tables[view.table.source_name], recipe.train_window)
        values = _values(view, known, names.values())
        views |= {name: distribution(kinds[field], values[field]) for name, field in names.items()}
    return Reference({name: distribution(kind, asked[name]) for name, kind in types.items()}, views)


def measure(settings: Settings, spec: ModelSpec, tables: Mapping[str, DataFrame], as_of: datetime) -> ModelDrift:
    """The drift of the model that serves, by the versions of the views that it was trained with.

    Args:
        settings: Of the home folder.
        spec: The model.
        tables: A DataFrame for each Feast source name of its views.
        as_of: The instant, UTC; what is known or was answered later does not count.
    """
    registry = Registry(settings)
    champion = registry.champion(spec.registered_name)
    known = Reference.read(registry.download_run(champion.run_id).parent / EVIDENCE_FOLDER) if champion else None
    limits = spec.drift
    if champion is None or known is None:
        train = f"goldpath materialize {'/'.join(spec.key('training'))} {'/'.join(spec.key('models'))}"
        lacks = f"{champion} has no reference" if champion else "there is no champion"
        return ModelDrift(as_of, champion, tuple(Drift(of, limits, (), f"{lacks}: {train}") for of in (NOW, SERVING)))
    now: dict[str, Any] = {}
    for view in as_trained(spec.features, registry.record(champion), model=spec.registered_name).views:
        names = _features(view, known.views)
        rows = _newest(tables[view.table.source_name], as_of, limits)
        values = _values(view, rows, names.values())
        now |= {name: values[field] for name, field in names.items()}
    views = {name: each for name, each in known.views.items() if name in now}
    predictions = prediction_log.folder(settings, spec.registered_name)
    asked = _answered(predictions, champion, known.asked, as_of, limits)
    drifts = (drift.judged(NOW, limits, views, now), drift.judged(SERVING, limits, known.asked, asked))
    return ModelDrift(as_of, champion, drifts)


def _features(view: FeatureView, wanted: Any) -> dict[str, str]:
    """The wanted features of a view: full name to column."""
    return {name: field for field, name in zip(view.fields, view.full_names, strict=True) if name in wanted}


def _values(view: FeatureView, rows: DataFrame, fields: Any) -> dict[str, Any]:
    types = {field: view.contract.column(field).type for field in fields}
    return drift.values_of(rows, types, (*view.keys, EVENT_TIMESTAMP))


def _within(rows: DataFrame, window: Part) -> DataFrame:
    """The rows of a window or fold; of a view, whose rows no fold selects, all."""
    from pyspark.sql import functions as F

    if isinstance(window, Fold):
        return rows.where(F.col(window.column).isin(*window.values)) if window.column in rows.columns else rows
    instant = F.col(EVENT_TIMESTAMP)
    return rows.where((instant >= F.lit(window.start)) & (instant < F.lit(window.end)))


def _newest(rows: DataFrame, as_of: datetime, limits: drift.DriftLimits) -> DataFrame:
    """The rows of the window that ends with the newest row up to an instant."""
    from pyspark.sql import functions as F

    known = rows.where(F.col(EVENT_TIMESTAMP) <= F.lit(as_of))
    newest = known.agg(F.max(F.unix_micros(EVENT_TIMESTAMP))).collect()[0][0]
    first = (newest or 0) - limits.window.total_seconds() * 1_000_000
    return known.where(F.unix_micros(EVENT_TIMESTAMP) > F.lit(int(first)))


def _answered(
    folder: Path, champion: RegisteredModel, asked: By, as_of: datetime, limits: drift.DriftLimits
) -> dict[str, pa.ChunkedArray]:
    """The values with which the champion has answered in the window, by full name; null where one was missing."""
    import pyarrow as pa

    values: dict[str, list[Any]] = {name: [] for name in asked}
    first = as_of - limits.window
    for record in prediction_log.read(folder, first.date(), as_of.date()):
        if not first < datetime.fromisoformat(record["as_of"]) <= as_of or record["model"]["digest"] != champion.digest:
            continue
        known = record["columns"] | {name: held["value"] for name, held in record["features"].items()}
        for name, own in values.items():
            value = known.get(name)
            own.append(None if value is None else str(value) if asked[name].kind == "text" else float(value))
    arrow = {"text": pa.string(), "number": pa.float64()}
    return {name: pa.chunked_array([own], arrow[asked[name].kind]) for name, own in values.items()}
