"""The demo's report: what happened, in figures that are read back from what the runs left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cost import focus, report
from pipelines.demo.story import Story
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


def collect(platform: Platform, story: Story) -> dict[str, Any]:
    """All figures of the report, as `report.json` holds them."""
    house = platform.lakehouse
    charged = house.snapshot(focus.COSTS).arrow()
    runs = {result.run_id for _, result in story.runs}
    here = charged.filter([row in runs for row in charged["x_run_id"].to_pylist()])
    return {
        "generated_at": datetime.now(UTC).isoformat(),
        "engine": platform.settings.engine,
        "stages": story.stages,
        "landed": [{"files": a.files, "rows": a.rows, "bytes": a.bytes} for a in story.arrivals],
        "assets": _assets(platform, story),
        "model": _model(platform),
        "replay": _replay(platform, story),
        "prediction": _prediction(platform, story),
        "cost_by_workload_class": report.report(here, by="workload_class"),
        "cost_total": sum(here["BilledCost"].to_pylist()),
        "currency": here["BillingCurrency"][0].as_py(),
        "peak_memory_mb": round((story.usage.peak_memory_bytes if story.usage else 0) / 2**20),
    }


def _assets(platform: Platform, story: Story) -> list[dict[str, Any]]:
    """One entry per asset: rows of what this demo's runs judged, seconds and cost summed over its runs."""
    found: dict[str, dict[str, Any]] = {}
    for _, result in story.runs:
        seen = set()
        for event in result.get_asset_materialization_events():
            name = "/".join(event.asset_key.path)
            if name in seen:  # one event per partition, all with the run's figures
                continue
            seen.add(name)
            value = {key: entry.value for key, entry in event.materialization.metadata.items()}
            daily = event.materialization.partition is not None
            entry = found.setdefault(name, {"key": name, "runs": 0, "seconds": 0.0, "cost": 0.0, "versions": {}})
            entry["runs"] += 1
            entry["seconds"] = round(entry["seconds"] + float(value.get("seconds") or 0), 3)
            entry["cost"] += float(value.get("cost") or 0)
            if value.get("version") is not None:
                entry["versions"] = {"output": str(value["version"]), "inputs": value.get("inputs") or {}}
            for figure in ("rows_in", "rows_clean", "rows_quarantined"):
                if figure in value:
                    entry[figure] = int(value[figure]) + (entry.get(figure, 0) if daily else 0)
            if "rows_in" not in value and "dagster/row_count" in value:
                rows = int(value["dagster/row_count"])
                entry["rows_in"] = entry["rows_clean"] = rows + (entry.get("rows_in", 0) if daily else 0)
                entry["rows_quarantined"] = 0
    tags = _tags()
    for entry in found.values():
        for figure in ("rows_in", "rows_clean", "rows_quarantined"):
            entry.setdefault(figure, None)
        entry["tags"] = tags.get(entry["key"], {})
    return sorted(found.values(), key=lambda entry: _order(entry["key"]))


def _order(key: str) -> tuple[int, str]:
    zones = ["bronze", "silver", "quarantine", "gold", "features", "training", "models", "serving", "landing"]
    zone = key.partition("/")[0]
    return (zones.index(zone) if zone in zones else len(zones), key)


def _tags() -> dict[str, dict[str, str]]:
    from pipelines.definitions import defs

    return {
        "/".join(spec.key.path): {name: value for name, value in spec.tags.items() if not name.startswith("dagster/")}
        for spec in defs.resolve_all_asset_specs()
    }


def _model(platform: Platform) -> dict[str, Any]:
    """The champion with its evidence, and every version that was registered."""
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
        "versions": [_version(registry, found) for found in registry.versions(MODEL)],
    }


def _version(registry: Registry, model: RegisteredModel) -> dict[str, Any]:
    gate = read_gate(registry.download(model).parent / EVIDENCE_FOLDER)
    return {
        "version": model.version,
        "digest": model.digest,
        "trained": "fine-tuned" if registry.record(model).base_model else "from scratch",
        **{key: gate[key] for key in ("passed", "reason", "window", "standings")},
    }


def _replay(platform: Platform, story: Story) -> dict[str, Any]:
    """How good the predictions of the replayed week were, against outcomes that the clock has passed."""
    house = platform.lakehouse
    asked = {answer["prediction_id"] for answer in story.answers}
    rows = house.snapshot(TableId("gold", "flights", "prediction_outcomes")).arrow().to_pylist()
    now = platform.now()
    known = [r for r in rows if r["prediction_id"] in asked and r["outcome_known_at"] and r["outcome_known_at"] <= now]
    arrived = [r for r in known if r["arrived_late"] is not None]
    late = [row["arrived_late"] for row in arrived]
    probability = [row["probability"] for row in arrived]
    figures: dict[str, Any] = {"asked": len(asked), "outcomes_known": len(known), "arrived": len(arrived)}
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


def _prediction(platform: Platform, story: Story) -> dict[str, Any] | None:
    """The most certain late call of the week, with its whole chain."""
    if not story.answers:
        return None
    chosen = max(story.answers, key=lambda answer: answer["probability"])
    found = chain.prediction_chain(platform, chosen["prediction_id"])
    return {
        "id": chosen["prediction_id"],
        "request": found["prediction"]["question"],
        "flight_id": chosen["flight_id"],
        "probability": chosen["probability"],
        "decision": chosen["decision"],
        "features": chosen["features"],
        "missing": chosen["missing"],
        "lineage": {key: found[key] for key in ("model", "training_data", "features")},
    }


def write(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Writes `report.json` and `report.html`; each replaces the last one whole."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(**facts)
    for name, text in (("report.json", json.dumps(facts, indent=1, default=str)), ("report.html", page)):
        files.replace(folder / name, text)
    return folder / "report.html"


def show(console: Console, facts: Mapping[str, Any], path: Path) -> None:
    """The report's main figures, for the terminal."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("asset", "rows in", "clean", "quarantined", "seconds", f"cost {facts['currency']}"):
        table.add_column(column, justify="left" if column == "asset" else "right")
    for asset in facts["assets"]:
        rows = [f"{asset[n]:,}" if asset[n] is not None else "" for n in ("rows_in", "rows_clean", "rows_quarantined")]
        table.add_row(asset["key"], *rows, f"{asset['seconds']:.1f}", f"{asset['cost']:.6f}")
    console.print(table)
    model, replay, prediction = facts["model"], facts["replay"], facts["prediction"]
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
    console.print(f"cost {facts['cost_total']:.6f} {facts['currency']}, peak memory {facts['peak_memory_mb']:,} MB")
    for group in facts["cost_by_workload_class"]:
        console.print(f"  {group['workload_class']:12s} {group['cost']:.6f}")
    console.print(f"\nReport: [bold]{path}[/]")
    console.print("Next:   [bold]goldpath dev[/]  shows the same runs in Dagster")
    if prediction:
        console.print(f"        [bold]goldpath lineage prediction {prediction['id']}[/]")
    console.print("        [bold]goldpath cost report --by workload_class[/]")
