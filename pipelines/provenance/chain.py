"""The chain of one prediction: back to the model and its data, and to the file and row behind each feature.

Answered from what every run left behind: the prediction log, lineage events, the registry, table versions, the ledger.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError
from pipelines.governed.platform import Platform
from pipelines.lakehouse.catalog import text
from pipelines.landing.delivery import PREFIX_CHARACTERS, Delivery
from pipelines.landing.zone import Landing
from pipelines.lineage.events import version_of
from pipelines.models.registry import Registry
from pipelines.provenance import prediction_log
from pipelines.quarantine import decisions
from pipelines.tables import RECORD_ID, TableId, TableVersion

if TYPE_CHECKING:
    from rich.tree import Tree

#: A record id is the first characters of the file's sha256, then the row's number.


def prediction_chain(platform: Platform, prediction_id: str) -> dict[str, Any]:
    """Everything that led to one prediction.

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
        "features": [_source(platform, domain, entry, prediction, versions) for entry in views.values()],
    }


def _online_inputs(platform: Platform, domain: str, as_of: str) -> dict[str, int]:
    """The table versions that the online store was filled from when the platform's clock showed `as_of`."""
    found: dict[str, int] = {}
    for event in platform.lineage.events():
        if event["eventType"] == "COMPLETE":
            for output in event.get("outputs", []):
                reached = version_of(output)
                if output["name"] == f"features/{domain}/online" and reached and _instant(reached) <= _instant(as_of):
                    found = {d["name"]: int(version_of(d) or 0) for d in event["inputs"]}
    return found


def _source(
    platform: Platform, domain: str, entry: dict[str, Any], prediction: dict[str, Any], versions: dict[str, int]
) -> dict[str, Any]:
    import pyarrow.dataset as ds

    table = TableId("gold", domain, entry["view"])
    keys = [name for name in platform.contracts[table].key_columns if name != "event_timestamp"]
    entity = {key: prediction["schedule"][key] for key in keys}
    source = {**entry, "entity": entity, "table": str(table), "version": versions.get(str(table)), "record": None}
    if entry["timestamp"] is None or source["version"] is None:
        return source
    where = ds.field("event_timestamp") == ds.scalar(_instant(entry["timestamp"]))
    for key, value in entity.items():
        where = where & ((text(key) if isinstance(value, str) else ds.field(key)) == value)
    rows = platform.lakehouse.snapshot(TableVersion(table, source["version"])).arrow(columns=[RECORD_ID], where=where)
    if rows.num_rows:
        source["record"] = trace(platform, domain, rows[RECORD_ID][0].as_py())
    return source


def trace(platform: Platform, domain: str, record_id: str) -> dict[str, Any] | None:
    """The landed file and row of a record: which delivery, which batch took it, the line itself, and what was decided.

    `decisions` are corrections and the like of what arrived, oldest first.
    """
    prefix, row = record_id[:PREFIX_CHARACTERS], int(record_id[PREFIX_CHARACTERS:])
    for table in platform.contracts:
        if (table.zone, table.domain) == ("bronze", domain):
            record = platform.ledger(table).find(prefix)
            if record is not None:
                silver = TableId("silver", table.domain, table.table)
                return {
                    "record_id": record_id,
                    "bronze": str(table),
                    "batch": f"{record.batch:08d}",
                    "file": record.delivery.uri,
                    "sha256": record.delivery.sha256,
                    "row": row,
                    "line": _line(platform.landing, record.delivery, row),
                    "decisions": [
                        {"act": made.act, "by": made.decided_by, "at": made.decided_at, "values": dict(made.values)}
                        for made in decisions.recorded(platform.lakehouse, silver, [record_id])
                        if made.act != "replay"
                    ],
                }
    return None


def _line(landing: Landing, delivery: Delivery, row: int) -> str | None:
    """The line of that number in a text file, plain or packed; None where there is none."""
    from pipelines.landing.formats.base import shown
    from pipelines.landing.formats.opening import lines, unpacked

    with unpacked(landing, delivery) as stream:
        return next((shown(line) for number, line in lines(stream) if number == row), None)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def tree(chain: dict[str, Any]) -> Tree:
    """The chain for a terminal."""
    from rich.text import Text
    from rich.tree import Tree

    prediction, model = chain["prediction"], chain["model"]
    root = Tree(f"[bold]prediction {prediction['prediction_id']}[/]  {prediction['flight_id']}")
    root.add(f"probability {prediction['probability']:.3f}, {prediction['decision']}, asked at {prediction['as_of']}")
    node = root.add(f"model [bold]{model['name']}@{model['version']}[/] digest {model['digest'][:16]}…")
    node.add(f"run {model['mlflow_run']} (Dagster {model['dagster_run']}), code {model['code_version'][:12]}")
    data = node.add("trained on")
    for table, version in chain["training_data"].items():
        data.add(f"{table}@{version}")
    for feature in chain["features"]:
        entity = ", ".join(f"{key}={value}" for key, value in feature["entity"].items())
        leaf = root.add(f"[bold]{feature['view']}[/] ({entity}) as known at {feature['timestamp']}")
        leaf.add(", ".join(f"{name}={value}" for name, value in feature["values"].items()))
        origin = leaf.add(f"{feature['table']}@{feature['version']}")
        if record := feature["record"]:
            where = f"{record['file']} row {record['row']} (batch {record['batch']})"
            latest = origin.add(f"latest contributing record: {where}")
            latest.add(Text(str(record["line"])))
            for made in record["decisions"]:
                latest.add(Text(f"{made['act']} by {made['by']} at {made['at']:%F %T} UTC {made['values'] or ''}"))
    return root
