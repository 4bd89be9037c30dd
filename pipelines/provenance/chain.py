"""Where a prediction comes from: its model, the model's training data, and the file and row behind each feature.

The answers come from what runs record: the prediction log, lineage events, the registry, table versions, the ledger.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.contracts import units
from pipelines.errors import GoldpathError, NotFoundError
from pipelines.features.declaration import view_and_version
from pipelines.governed.platform import Platform
from pipelines.lakehouse.catalog import text
from pipelines.lineage.events import version_of
from pipelines.models.registry import Registry
from pipelines.provenance import prediction_log
from pipelines.quarantine.traces import trace
from pipelines.tables import RECORD_ID, TableId, TableVersion

if TYPE_CHECKING:
    from rich.tree import Tree


def prediction_chain(platform: Platform, prediction_id: str) -> dict[str, Any]:
    """Everything that led to one prediction.

    Returns:
        `prediction` (as it was logged), `model`, `training_data` (table to version), and `features`: one entry per
        feature view, with the values, those of them that stand for instants as such (`instants`), the table version
        that holds them, whether they came from it or from a pushed event (`source`), and the latest record behind them.

    Raises:
        NotFoundError: if no such prediction was logged.
    """
    logs = prediction_log.folders(platform.settings)
    answers = (answer for log in logs for answer in prediction_log.read(log))
    prediction = next((answer for answer in answers if answer["prediction_id"] == prediction_id), None)
    if prediction is None:
        raise NotFoundError(
            object=f"prediction {prediction_id!r}",
            observed="the prediction log does not hold it",
            expected="an id that the service answered with",
            next_step="look in <home>/serving/predictions, or ask the service first",
        )
    registry = Registry(platform.settings)
    model = registry.version(prediction["model"]["name"], prediction["model"]["version"])
    record = registry.record(model)
    domain = model.name.split(".")[0]
    filled_from = _filled_from(platform, domain, prediction["answered_at"])
    tables = [TableId.parse(table) for table in record.dataset_versions]
    trained_on = {view_and_version(table)[0]: table for table in tables if table.zone == "gold"}
    views: dict[str, dict[str, Any]] = {}
    for name, feature in prediction["features"].items():
        view, _, column = name.partition("__")
        table = trained_on.get(view) or _table(platform, domain, view)
        entry = views.setdefault(
            view, {"view": view, "table": str(table), "timestamp": feature["timestamp"], "values": {}}
        )
        entry["values"][column] = feature["value"]
    return {
        "prediction": prediction,
        "model": {
            "name": model.name,
            "version": model.version,
            "digest": model.digest,
            "mlflow_run": model.run_id,
            "dagster_run": record.dagster_run_id,
            "code_version": record.code_version,
            "base_model": record.base_model,
        },
        "training_data": dict(record.dataset_versions),
        "features": [_with_origin(platform, domain, entry, prediction, filled_from) for entry in views.values()],
    }


def _filled_from(platform: Platform, domain: str, answered_at: str) -> list[dict[str, int]]:
    """The table versions that runs moved the online store to before an instant of the wall clock, the newest run first.

    A run counts from its start, whether or not it ended: it writes row by row.
    """
    versions: list[dict[str, int]] = []
    for event in platform.lineage.events():
        started = event["eventType"] == "START" and _utc(event["eventTime"]) <= _utc(answered_at)
        if started and event["job"]["name"] == f"features/{domain}/online":
            versions.append({dataset["name"]: int(version_of(dataset) or 0) for dataset in event["inputs"]})
    return versions[::-1]


def _with_origin(
    platform: Platform,
    domain: str,
    entry: dict[str, Any],
    prediction: dict[str, Any],
    filled_from: list[dict[str, int]],
) -> dict[str, Any]:
    """The entry of a feature view with its entity, the table version that holds its row, and the record behind it.

    The row is searched by its values, not derived from the time: a store may be on its way between two states, and a
    pushed event moves it before any table holds the event. `source` says which was the case: `table`, `pushed event`
    (the row is in a version that no run had moved the store to by then), or `unknown`.

    Args:
        platform: Where the tables are.
        domain: The domain of the model.
        entry: The view's name and table, the timestamp of its values, and the values.
        prediction: The logged prediction.
        filled_from: Table name to version, for each run that moved the online store before, the newest first.
    """
    table = TableId.parse(entry["table"])
    contract = platform.contracts[table]
    keys = [name for name in contract.key_columns if name != "event_timestamp"]
    entity = {key: prediction["columns"][key] for key in keys}
    instants = {name: units.instant(contract.column(name).unit, value) for name, value in entry["values"].items()}
    entry["instants"] = {name: f"{instant:%F %T} UTC" for name, instant in instants.items() if instant}
    origin = {**entry, "entity": entity, "version": None, "record": None, "source": "unknown"}
    if entry["timestamp"] is None:
        return origin
    moved_to = list(dict.fromkeys(versions[str(table)] for versions in filled_from if str(table) in versions))
    current = platform.lakehouse.version(table)
    later = [current] if current is not None and current not in moved_to else []
    for version in [*moved_to, *later]:
        try:
            record_id = _row_of(platform, TableVersion(table, version), entity, entry)
        except GoldpathError:
            continue  # upkeep removed the files of this version
        if record_id is not None:
            source = "table" if version in moved_to else "pushed event"
            return origin | {"version": version, "source": source, "record": trace(platform, domain, record_id)}
    return origin


def _table(platform: Platform, domain: str, view: str) -> TableId:
    """The gold table of a feature view: the domain's own, or that of another domain whose table the model reads."""
    others = sorted(table for table in platform.contracts if table.zone == "gold" and table.table == view)
    own = TableId("gold", domain, view)
    return own if own in others or not others else others[0]


def _row_of(platform: Platform, at: TableVersion, entity: dict[str, Any], entry: dict[str, Any]) -> str | None:
    """The record id of the row with this entity, timestamp and values in a table version; None if it has none."""
    import pyarrow.dataset as ds

    where = ds.field("event_timestamp") == ds.scalar(_utc(entry["timestamp"]))
    for key, value in entity.items():
        where = where & ((text(key) if isinstance(value, str) else ds.field(key)) == value)
    rows = platform.lakehouse.snapshot(at).arrow(columns=[RECORD_ID, *entry["values"]], where=where).to_pylist()
    return next((r[RECORD_ID] for r in rows if all(_same(r[n], v) for n, v in entry["values"].items())), None)


def _same(stored: Any, answered: Any) -> bool:
    """Whether a value of a table is the one that the online store answered with, which may have single precision."""
    if isinstance(stored, float) and isinstance(answered, int | float):
        return math.isclose(stored, answered, rel_tol=1e-6)
    missing = stored is None or (isinstance(stored, float) and math.isnan(stored))
    return missing if answered is None else stored == answered


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _answer(prediction: dict[str, Any]) -> str:
    """What the service answered, by the task of its model."""
    if "probability" in prediction:
        return f"probability {prediction['probability']:.3f}, {prediction['decision']}"
    if "interval" in prediction:
        low, high, level = (prediction["interval"][name] for name in ("low", "high", "level"))
        return f"value {prediction['value']:.4g}, between {low:.4g} and {high:.4g} with probability {level:.0%}"
    label = prediction["label"]
    return f"{label}, with probability {prediction['probabilities'][label]:.3f}"


def tree(chain: dict[str, Any]) -> Tree:
    """The result of `prediction_chain` as a tree for the terminal."""
    from rich.tree import Tree

    prediction, model = chain["prediction"], chain["model"]
    root = Tree(f"prediction {prediction['prediction_id']}  {prediction['subject']}")
    root.add(f"{_answer(prediction)}, asked at {prediction['as_of']}")
    node = root.add(f"model {model['name']}@{model['version']} digest {model['digest'][:16]}…")
    node.add(f"run {model['mlflow_run']} (Dagster {model['dagster_run']}), code {model['code_version'][:12]}")
    data = node.add("trained on")
    for table, version in chain["training_data"].items():
        data.add(f"{table}@{version}")
    for feature in chain["features"]:
        entity = ", ".join(f"{key}={value}" for key, value in feature["entity"].items())
        leaf = root.add(f"{feature['view']} ({entity}) as known at {feature['timestamp']}")
        leaf.add(", ".join(f"{name}={value}" for name, value in (feature["values"] | feature["instants"]).items()))
        version = "" if feature["version"] is None else f"@{feature['version']}"
        source = {"pushed event": ", pushed before that version", "unknown": ": no version holds these values"}
        origin = leaf.add(f"{feature['table']}{version}{source.get(feature['source'], '')}")
        if record := feature["record"]:
            place = f"{record['file']} row {record['row']} (batch {record['batch']})"
            latest = origin.add(f"latest contributing record: {place}")
            latest.add(str(record["line"]))
            for act in record["decisions"]:
                latest.add(f"{act['act']} by {act['by']} at {act['at']:%F %T} UTC {act['values'] or ''}")
    return root
