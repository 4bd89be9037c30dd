"""The figures of the demo's report, read back from tables, run metadata, the model registry and the prediction log."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.cost import focus, report
from pipelines.demo.outcomes import replayed
from pipelines.demo.results import DemoResults
from pipelines.governed.platform import Platform
from pipelines.models.evidence import read_gate
from pipelines.models.registry import EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.orchestration.demo_story import Demo
from pipelines.provenance import chain
from pipelines.quality.plots import data_uri
from pipelines.tables import ZONES, TableId, TableVersion

#: What the report shows of an answer, where the answer has it.
ANSWER = ("probability", "decision", "value", "interval", "label", "probabilities")


def collect(platform: Platform, demo: Demo, results: DemoResults) -> dict[str, Any]:
    """All figures of the report, as `report.json` holds them. Costs are those of this demo's runs."""
    costs = platform.lakehouse.snapshot(focus.COSTS).arrow()
    run_ids = {result.run_id for _, result in results.runs}
    costs = costs.filter([run_id in run_ids for run_id in costs["x_run_id"].to_pylist()])
    figures: dict[str, Any] = {
        "domain": demo.domain.name,
        "title": demo.title,
        "generated_at": datetime.now(UTC).isoformat(),
        "engine": platform.settings.engine,
        "stages": results.stages,
        "landed": [{"domain": name, "files": a.files, "rows": a.rows, "bytes": a.bytes} for name, a in results.landed],
        "assets": _assets(platform, results),
        "model": _model(platform, demo),
        "replay": replayed(platform, demo, results.answers),
        "prediction": _prediction(platform, demo, results),
        "rollouts": results.rollouts,
        "checks": _checks(results),
        "cost_by_workload_class": report.report(costs, by="workload_class"),
        "cost_total": sum(costs["BilledCost"].to_pylist()),
        "currency": costs["BillingCurrency"][0].as_py(),
        "peak_memory_mb": round((results.usage.peak_memory_bytes if results.usage else 0) / 2**20),
    }
    return figures | {"sections": [asdict(section) for section in demo.sections(platform, figures)]}


def _assets(platform: Platform, results: DemoResults) -> list[dict[str, Any]]:
    """Rows, seconds and cost of each asset. Grain: one entry per asset.

    `rows` are those of the table as it is now and `quarantined` those of the quarantine table beside a silver table,
    whichever run wrote them; both are None for an asset that is no table. `runs`, `seconds` and `cost` are sums over
    the runs of this demo.
    """
    entries: dict[str, dict[str, Any]] = {}
    for _, result in results.runs:
        # There is one event for each partition; the last has the figures of the run.
        last = {"/".join(event.asset_key.path): event for event in result.get_asset_materialization_events()}
        for name, event in last.items():
            entry = entries.setdefault(name, {"key": name, "runs": 0, "seconds": 0.0, "cost": 0.0, "versions": {}})
            _add_run(entry, event.materialization)
    tags = _tags()
    for name, entry in entries.items():
        entry |= {"tags": tags.get(name, {}), "rows": _rows(platform, name)}
        silver = name.startswith("silver/")
        entry["quarantined"] = (_rows(platform, name.replace("silver/", "quarantine/", 1)) or 0) if silver else None
    return sorted(entries.values(), key=lambda entry: _order(entry["key"]))


def _add_run(entry: dict[str, Any], materialization: Any) -> None:
    """Adds the figures of one run of an asset to its entry."""
    metadata = {name.removeprefix("run_"): value.value for name, value in materialization.metadata.items()}
    entry["runs"] += 1
    entry["seconds"] = round(entry["seconds"] + float(metadata.get("seconds") or 0), 3)
    entry["cost"] += float(metadata.get("cost") or 0)
    if metadata.get("version") is not None:
        entry["versions"] = {"output": str(metadata["version"]), "inputs": metadata.get("inputs") or {}}


def _rows(platform: Platform, name: str) -> int | None:
    """The rows of a table's newest version; None for an asset that is no table, and for a table without a version."""
    if name.partition("/")[0] not in ZONES:
        return None
    table = TableId.parse(name)
    version = platform.lakehouse.version(table)
    return None if version is None else platform.lakehouse.snapshot(TableVersion(table, version)).rows


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


def _checks(results: DemoResults) -> dict[str, Any]:
    """How many checks the runs of this demo evaluated, how many of them passed, and what the others said last."""
    evaluated = [check for _, result in results.runs for check in result.get_asset_check_evaluations()]
    said = {"/".join(check.asset_key.path): check.description for check in evaluated if not check.passed}
    return {
        "evaluated": len(evaluated),
        "passed": sum(check.passed for check in evaluated),
        "not_passed": [f"{name}: {words}" for name, words in sorted(said.items())],
    }


def _model(platform: Platform, demo: Demo) -> dict[str, Any]:
    """The champion with its evidence, and the gate's result for every registered version."""
    registry, name = Registry(platform.settings), demo.model.registered_name
    asked = {"name": name, "question": demo.model.question, "task": demo.model.task}
    champion = registry.champion(name)
    if champion is None:
        return asked | {"version": None, "gate": {"passed": False, "reason": "no version passed the gate"}}
    folder = registry.download(champion).parent / EVIDENCE_FOLDER
    gate = read_gate(folder)
    return asked | {
        "version": champion.version,
        "digest": champion.digest,
        "mlflow_run": champion.run_id,
        "metrics": gate["standings"]["challenger"],
        "baseline": gate["standings"]["baseline"],
        "gate": {key: gate[key] for key in ("passed", "reason", "window", "metrics", "comparisons")},
        "plots": _plots(folder),
        "versions": [_version(registry, version) for version in registry.versions(name)],
    }


def _plots(folder: Path) -> dict[str, str]:
    return {path.stem: data_uri(path.read_bytes()) for path in sorted(folder.glob("*.png"))}


def _version(registry: Registry, model: RegisteredModel) -> dict[str, Any]:
    """How a version was trained, and its gate's result."""
    gate = read_gate(registry.download(model).parent / EVIDENCE_FOLDER)
    return {
        "version": model.version,
        "digest": model.digest,
        "trained": "fine-tuned" if registry.record(model).base_model else "from scratch",
        **{key: gate[key] for key in ("passed", "reason", "window", "metrics", "standings")},
    }


def _prediction(platform: Platform, demo: Demo, results: DemoResults) -> dict[str, Any] | None:
    """The replay's prediction with the highest probability, or value, traced back to its source records."""
    if not results.answers:
        return None
    replay = demo.replay
    answer = max(results.answers, key=lambda answer: answer.get(replay.answer, 0))
    lineage = chain.prediction_chain(platform, answer["prediction_id"])
    return {
        "id": answer["prediction_id"],
        "request": lineage["prediction"]["question"],
        "subject": answer["subject"],
        "answer": {name: answer[name] for name in ANSWER if name in answer},
        "features": answer["features"],
        "missing": answer["missing"],
        "lineage": {key: lineage[key] for key in ("model", "training_data", "features")},
    }
