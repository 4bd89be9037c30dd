"""The demo of a language model: texts land and become a training set, the model is tuned, compared and registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipelines.cost import metering
from pipelines.demo.jobs import execute
from pipelines.demo.results import DemoResults
from pipelines.governed.platform import Platform
from pipelines.machine import files, ray_connection
from pipelines.models.evidence import CARD_FILE, read_gate
from pipelines.models.registry import EVIDENCE_FOLDER, Registry
from pipelines.orchestration.demo_story import LanguageDemo
from pipelines.settings import Settings

#: Answers that are printed side by side; `language.json` has all that were kept.
PRINTED = 3


def run(settings: Settings, demo: LanguageDemo) -> Path:
    """Runs the demo and returns the path of its figures, `demo/language.json` in the home folder.

    A second demo in the same folder trains again, and derives only the tables whose inputs have changed.
    """
    console = Console(soft_wrap=True)
    from pipelines.definitions import all_contracts, broken_domains

    platform = Platform(settings, all_contracts, broken_domains)
    results = DemoResults()
    imports = [demo.model.program.place.partition(":")[0]]
    console.rule(f"[bold]Goldpath: {escape(demo.title)}")
    console.print(f"[dim]{escape(demo.duration)}[/]")
    with metering.metering(), ray_connection.connected_beside(settings, imports=imports):
        try:
            with results.stage(console, "language", "texts land, tables, training, comparison with the base, registry"):
                execute(platform, console, results, demo.job)
            figures = collect(platform, demo, results)
        finally:
            platform.close()
    path = settings.root / "demo" / "language.json"
    files.replace(path, json.dumps(figures, indent=1, default=str))
    show(console, figures)
    console.print(f"\nFigures: [bold]{escape(str(path))}[/]")
    console.print("Next:    [bold]goldpath dev[/]  shows the run in Dagster and the model in MLflow")
    console.print(f"         [bold]goldpath model show {demo.model.registered_name}[/]")
    return path


def collect(platform: Platform, demo: LanguageDemo, results: DemoResults) -> dict[str, Any]:
    """The newest version of the model with its origin, its figures beside the base model's, and written answers."""
    registry, name = Registry(platform.settings), demo.model.registered_name
    version = max(registry.versions(name), key=lambda each: int(each.version))
    folder = registry.download(version).parent / EVIDENCE_FOLDER
    gate, record, champion = read_gate(folder), registry.record(version), registry.champion(name)
    return {
        "model": name,
        "version": version.version,
        "digest": version.digest,
        "is_champion": champion is not None and champion.digest == version.digest,
        "trained_on": {table: at for table, at in record.dataset_versions.items() if table.startswith("gold/")},
        "workers": record.hyperparameters["num_workers"],
        "accelerator": record.accelerator,
        "standings": gate["standings"],
        "gate": {key: gate[key] for key in ("passed", "reason")},
        "answers": {name: figures["samples"] for name, figures in gate["figures"].items()},
        "card": str(folder / CARD_FILE),
        "stages": results.stages,
        "runs": [result.run_id for _, result in results.runs],
    }


def show(console: Console, figures: dict[str, Any]) -> None:
    """Prints where the model comes from, its metrics beside the base model's, the gate, and answers side by side."""
    tables = ", ".join(f"{table}@{version}" for table, version in figures["trained_on"].items())
    standings = figures["standings"]
    console.print(
        f"\n[bold]{figures['model']}@{figures['version']}[/], digest {figures['digest'][:12]}, trained on {tables} by "
        f"{figures['workers']} workers ({figures['accelerator']})"
    )
    for metric, value in standings["challenger"].items():
        digits = 0 if metric == "n" or metric.startswith("n_") else 4  # a number of rows
        base_model = standings["baseline"][metric]
        console.print(f"  {metric:14s} {value:10.{digits}f}  base model {base_model:10.{digits}f}")
    state = "the champion" if figures["is_champion"] else "registered, not the champion"
    console.print(f"  {state}: {escape(figures['gate']['reason'])}")
    console.print(f"  card {escape(figures['card'])}")
    base, tuned = figures["answers"]["baseline"], figures["answers"]["challenger"]
    for before, after in list(zip(base, tuned, strict=True))[:PRINTED]:
        asked = " ".join(after["question"].split())
        console.print(f"\n[dim]… {escape(asked[-160:])}[/]")
        for who, text in (("author", after["known"]), ("base", before["written"]), ("tuned", after["written"])):
            console.print(f"  {who:7s} {escape(' '.join(text.split()))}")
