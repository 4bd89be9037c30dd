"""The demo's report, with figures read back from tables, run metadata, the model registry and the prediction log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cost import focus, report
from pipelines.demo.results import DemoResults
from pipelines.governed.platform import Platform
from pipelines.machine import files
from pipelines.models.evidence import read_gate
from pipelines.models.registry import EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.provenance import chain
from pipelines.quality.plots import data_uri
from pipelines.tables import TableId

if TYPE_CHECKING:
    from rich.console import Console


MODEL = "flights.arrival_delay"
TEMPLATE = Path(__file__).parent / "report.html.j2"


def collect(platform: Platform, results: DemoResults) -> dict[str, Any]:
    """All figures of the report, as `report.json` holds them. Costs are those of this demo's runs."""
    costs = platform.lakehouse.snapshot(focus.COSTS).arrow()
    run_ids = {result.run_id for _, result in results.runs}
    costs = costs.filter([run_id in run_ids for run_id in costs["x_run_id"].to_pylist()])
    return {
        "generated_at": datetime.now(UTC).isoformat(),
        "engine": platform.settings.engine,
        "stages": results.stages,
        "landed": [{"files": a.files, "rows": a.rows, "bytes": a.bytes} for a in results.arrivals],
        "assets": _assets(results),
        "model": _model(platform),
        "replay": _replay(platform, results),
        "prediction": _prediction(platform, results),
        "cost_by_workload_class": report.report(costs, by="workload_class"),
        "cost_total": sum(costs["BilledCost"].to_pylist()),
        "currency": costs["BillingCurrency"][0].as_py(),
        "peak_memory_mb": round((results.usage.peak_memory_bytes if results.usage else 0) / 2**20),
    }


def _assets(results: DemoResults) -> list[dict[str, Any]]:
    """Rows, seconds and cost of each asset. Grain: one entry per asset, over all runs of this demo.

    Seconds and cost are summed. Rows are summed for an asset with partitions, of which each run judges others; for an
    asset without partitions they are those of the last run.
    """
    entries: dict[str, dict[str, Any]] = {}
    for _, result in results.runs:
        # There is one event per partition; the last has the figures of the run.
        last = {"/".join(event.asset_key.path): event for event in result.get_asset_materialization_events()}
        for name, event in last.items():
            entry = entries.setdefault(name, {"key": name, "runs": 0, "seconds": 0.0, "cost": 0.0, "versions": {}})
            _add_run(entry, event.materialization)
    tags = _tags()
    for entry in entries.values():
        for figure in ("rows_in", "rows_clean", "rows_quarantined"):
            entry.setdefault(figure, None)
        entry["tags"] = tags.get(entry["key"], {})
    return sorted(entries.values(), key=lambda entry: _order(entry["key"]))


def _add_run(entry: dict[str, Any], materialization: Any) -> None:
    """Adds the figures of one run of an asset to its entry."""
    metadata = {name.removeprefix("run_"): value.value for name, value in materialization.metadata.items()}
    has_partitions = materialization.partition is not None
    entry["runs"] += 1
    entry["seconds"] = round(entry["seconds"] + float(metadata.get("seconds") or 0), 3)
    entry["cost"] += float(metadata.get("cost") or 0)
    if metadata.get("version") is not None:
        entry["versions"] = {"output": str(metadata["version"]), "inputs": metadata.get("inputs") or {}}
    for figure in ("rows_in", "rows_clean", "rows_quarantined"):
        if figure in metadata:
            entry[figure] = int(metadata[figure]) + (entry.get(figure, 0) if has_partitions else 0)
    if "rows_in" not in metadata and "dagster/row_count" in metadata:
        rows = int(metadata["dagster/row_count"])
        entry["rows_in"] = entry["rows_clean"] = rows + (entry.get("rows_in", 0) if has_partitions else 0)
        entry["rows_quarantined"] = 0


def _order(key: str) -> tuple[int, str]:
    """The place of an asset in the report: by zone, then by name."""
    zones = ["bronze", "silver", "quarantine", "gold", "features", "training", "models", "serving", "landing"]
    zone = key.partition("/")[0]
    return (zones.index(zone) if zone in zones else len(zones), key)


def _tags() -> dict[str, dict[str, str]]:
    """The tags of every asset by its key, without Dagster's own."""
    from pipelines.definitions import defs

    return {
        "/".join(spec.key.path): {name: value for name, value in spec.tags.items() if not name.startswith("dagster/")}
        for spec in defs.resolve_all_asset_specs()
    }


def _model(platform: Platform) -> dict[str, Any]:
    """The champion with its evidence, and the gate's result for every registered version."""
    registry = Registry(platform.settings)
    champion = registry.champion(MODEL)
    if champion is None:
        return {"name": MODEL, "version": None, "gate": {"passed": False, "reason": "no version passed the gate"}}
    folder = registry.download(champion).parent / EVIDENCE_FOLDER
    gate = read_gate(folder)
    return {
        "name": champion.name,
        "version": champion.version,
        "digest": champion.digest,
        "mlflow_run": champion.run_id,
        "metrics": gate["standings"]["challenger"],
        "baseline": gate["standings"]["baseline"],
        "gate": {key: gate[key] for key in ("passed", "reason", "window", "comparisons")},
        "plots": {name: data_uri((folder / f"{name}.png").read_bytes()) for name in ("roc", "calibration")},
        "versions": [_version(registry, version) for version in registry.versions(MODEL)],
    }


def _version(registry: Registry, model: RegisteredModel) -> dict[str, Any]:
    """How a version was trained, and its gate's result."""
    gate = read_gate(registry.download(model).parent / EVIDENCE_FOLDER)
    return {
        "version": model.version,
        "digest": model.digest,
        "trained": "fine-tuned" if registry.record(model).base_model else "from scratch",
        **{key: gate[key] for key in ("passed", "reason", "window", "standings")},
    }


def _replay(platform: Platform, results: DemoResults) -> dict[str, Any]:
    """The quality of the replayed week's predictions, over flights whose outcome is known at the platform's clock.

    `asked` counts all predictions, `outcomes_known` those with an outcome, and `arrived` those of flights that arrived;
    the metrics are over the latter, and absent unless some of these flights were late and some were not.
    """
    predictions = {answer["prediction_id"] for answer in results.answers}
    rows = platform.lakehouse.snapshot(TableId("gold", "flights", "prediction_outcomes")).arrow().to_pylist()
    rows = [row for row in rows if row["prediction_id"] in predictions]
    now = platform.now()
    known = [row for row in rows if row["outcome_known_at"] and row["outcome_known_at"] <= now]
    arrived = [row for row in known if row["arrived_late"] is not None]
    late = [row["arrived_late"] for row in arrived]
    probability = [row["probability"] for row in arrived]
    figures: dict[str, Any] = {"asked": len(predictions), "outcomes_known": len(known), "arrived": len(arrived)}
    if len(set(late)) == 2:
        from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

        figures |= {
            "late_share": sum(late) / len(late),
            "mean_probability": sum(probability) / len(probability),
            "auc": float(roc_auc_score(late, probability)),
            "average_precision": float(average_precision_score(late, probability)),
            "log_loss": float(log_loss(late, probability)),
            "brier": float(brier_score_loss(late, probability)),
        }
    return figures


def _prediction(platform: Platform, results: DemoResults) -> dict[str, Any] | None:
    """The week's prediction with the highest probability of a late arrival, traced back to its source records."""
    if not results.answers:
        return None
    answer = max(results.answers, key=lambda answer: answer["probability"])
    lineage = chain.prediction_chain(platform, answer["prediction_id"])
    return {
        "id": answer["prediction_id"],
        "request": lineage["prediction"]["question"],
        "flight_id": answer["flight_id"],
        "probability": answer["probability"],
        "decision": answer["decision"],
        "features": answer["features"],
        "missing": answer["missing"],
        "lineage": {key: lineage[key] for key in ("model", "training_data", "features")},
    }


def write(folder: Path, figures: Mapping[str, Any]) -> Path:
    """Writes `report.json` and `report.html`, in place of those of an earlier demo; returns the path of the page."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(**figures)
    for name, text in (("report.json", json.dumps(figures, indent=1, default=str)), ("report.html", page)):
        files.replace(folder / name, text)
    return folder / "report.html"


def show(console: Console, figures: Mapping[str, Any], path: Path) -> None:
    """Prints the report's main figures, its path, and commands to run next."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("asset", "rows in", "clean", "quarantined", "seconds", f"cost {figures['currency']}"):
        table.add_column(column, justify="left" if column == "asset" else "right")
    for asset in figures["assets"]:
        rows = [f"{asset[n]:,}" if asset[n] is not None else "" for n in ("rows_in", "rows_clean", "rows_quarantined")]
        table.add_row(asset["key"], *rows, f"{asset['seconds']:.1f}", f"{asset['cost']:.6f}")
    console.print(table)
    model, replay, prediction = figures["model"], figures["replay"], figures["prediction"]
    if model["version"]:
        champion, baseline = model["metrics"], model["baseline"]
        console.print(
            f"\n[bold]{model['name']}@{model['version']}[/]"
            f" AUC {champion['auc']:.4f}, log loss {champion['log_loss']:.4f}"
            f"  (baseline {baseline['auc']:.4f}, {baseline['log_loss']:.4f})"
        )
    if "auc" in replay:
        console.print(f"replayed week: {replay['arrived']:,} arrivals predicted, AUC {replay['auc']:.4f}")
    if prediction:
        console.print(f"prediction {prediction['id']}: {prediction['flight_id']} {prediction['probability']:.3f}")
    console.print(
        f"cost {figures['cost_total']:.6f} {figures['currency']}, peak memory {figures['peak_memory_mb']:,} MB"
    )
    for group in figures["cost_by_workload_class"]:
        console.print(f"  {group['workload_class']:12s} {group['cost']:.6f}")
    console.print(f"\nReport: [bold]{path}[/]")
    console.print("Next:   [bold]goldpath dev[/]  shows these runs in Dagster")
    if prediction:
        console.print(f"        [bold]goldpath lineage prediction {prediction['id']}[/]")
    console.print("        [bold]goldpath cost report --by workload_class[/]")
