"""Where a prediction comes from: its model, the model's training data, and the file and row behind each feature.

The answers come from what runs record: the prediction log, lineage events, the registry, table versions, the ledger.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError
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
        feature view, with the values, the table version that they came from, and the latest record behind them.

    Raises:
        NotFoundError: if no such prediction was logged.
    """
    log = prediction_log.folder(platform.settings)
    prediction = next((p for p in prediction_log.read(log) if p["prediction_id"] == prediction_id), None)
    if prediction is None:
        raise NotFoundError(
            object=f"prediction {prediction_id!r}",
            observed="the prediction log does not hold it",
            expected="an id that the service answered with",
            next_step=f"look in {log}, or ask the service first",
        )
    registry = Registry(platform.settings)
    model = registry.version(prediction["model"]["name"], prediction["model"]["version"])
    record = registry.record(model)
    domain = model.name.split(".")[0]
    versions = _online_inputs(platform, domain, prediction["as_of"])
    views: dict[str, dict[str, Any]] = {}
    for name, feature in prediction["features"].items():
        view, _, column = name.partition("__")
        entry = views.setdefault(view, {"view": view, "timestamp": feature["timestamp"], "values": {}})
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
        "features": [_with_origin(platform, domain, entry, prediction, versions) for entry in views.values()],
    }


def _online_inputs(platform: Platform, domain: str, as_of: str) -> dict[str, int]:
    """The table versions that filled the online store last, when the platform's clock showed `as_of`."""
    versions: dict[str, int] = {}
    for event in platform.lineage.events():
        if event["eventType"] == "COMPLETE":
            for output in event.get("outputs", []):
                filled_at = version_of(output)
                if output["name"] == f"features/{domain}/online" and filled_at and _utc(filled_at) <= _utc(as_of):
                    versions = {dataset["name"]: int(version_of(dataset) or 0) for dataset in event["inputs"]}
    return versions


def _with_origin(
    platform: Platform, domain: str, entry: dict[str, Any], prediction: dict[str, Any], versions: dict[str, int]
) -> dict[str, Any]:
    """The entry of a feature view with its entity, its table and version, and the record behind its values.

    Args:
        platform: Where the tables are.
        domain: The domain of the model.
        entry: The view's name, the timestamp of its values, and the values.
        prediction: The logged prediction.
        versions: Table name to the version that filled the online store.
    """
    import pyarrow.dataset as ds

    table = TableId("gold", domain, entry["view"])
    keys = [name for name in platform.contracts[table].key_columns if name != "event_timestamp"]
    entity = {key: prediction["schedule"][key] for key in keys}
    version = versions.get(str(table))
    origin = {**entry, "entity": entity, "table": str(table), "version": version, "record": None}
    if entry["timestamp"] is None or version is None:
        return origin
    where = ds.field("event_timestamp") == ds.scalar(_utc(entry["timestamp"]))
    for key, value in entity.items():
        where = where & ((text(key) if isinstance(value, str) else ds.field(key)) == value)
    rows = platform.lakehouse.snapshot(TableVersion(table, version)).arrow(columns=[RECORD_ID], where=where)
    if rows.num_rows:
        origin["record"] = trace(platform, domain, rows[RECORD_ID][0].as_py())
    return origin


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def tree(chain: dict[str, Any]) -> Tree:
    """The result of `prediction_chain` as a tree for the terminal."""
    from rich.tree import Tree

    prediction, model = chain["prediction"], chain["model"]
    root = Tree(f"prediction {prediction['prediction_id']}  {prediction['flight_id']}")
    root.add(f"probability {prediction['probability']:.3f}, {prediction['decision']}, asked at {prediction['as_of']}")
    node = root.add(f"model {model['name']}@{model['version']} digest {model['digest'][:16]}…")
    node.add(f"run {model['mlflow_run']} (Dagster {model['dagster_run']}), code {model['code_version'][:12]}")
    data = node.add("trained on")
    for table, version in chain["training_data"].items():
        data.add(f"{table}@{version}")
    for feature in chain["features"]:
        entity = ", ".join(f"{key}={value}" for key, value in feature["entity"].items())
        leaf = root.add(f"{feature['view']} ({entity}) as known at {feature['timestamp']}")
        leaf.add(", ".join(f"{name}={value}" for name, value in feature["values"].items()))
        origin = leaf.add(f"{feature['table']}@{feature['version']}")
        if record := feature["record"]:
            place = f"{record['file']} row {record['row']} (batch {record['batch']})"
            latest = origin.add(f"latest contributing record: {place}")
            latest.add(str(record["line"]))
            for act in record["decisions"]:
                latest.add(f"{act['act']} by {act['by']} at {act['at']:%F %T} UTC {act['values'] or ''}")
    return root
