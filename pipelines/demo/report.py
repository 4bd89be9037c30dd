"""The demo's report as a page, as JSON, and as the lines that the command prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.machine import files
from pipelines.models.tasks import TASKS

if TYPE_CHECKING:
    from rich.console import Console


TEMPLATE = Path(__file__).parent / "report.html.j2"


def write(folder: Path, figures: Mapping[str, Any]) -> Path:
    """Writes `report.json` and `report.html`, in place of those of an earlier demo; returns the path of the page."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure
    metrics = TASKS[figures["model"]["task"]].metrics
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(**figures, meaning={name: metric.meaning for name, metric in metrics.items()})
    for name, text in (("report.json", json.dumps(figures, indent=1, default=str)), ("report.html", page)):
        files.replace(folder / name, text)
    return folder / "report.html"


def figure(value: Any) -> str:
    """A figure for people: counts with thousands separators, measures in four digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"


def show(console: Console, figures: Mapping[str, Any], path: Path) -> None:
    """Prints the report's main figures, its path, and commands to run next."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("asset", "rows", "quarantined", "runs", "seconds", f"cost {figures['currency']}"):
        table.add_column(column, justify="left" if column == "asset" else "right")
    for asset in figures["assets"]:
        counts = [figure(asset[name]) for name in ("rows", "quarantined", "runs")]
        table.add_row(asset["key"], *counts, f"{asset['seconds']:.1f}", f"{asset['cost']:.6f}")
    console.print(table)
    model, replay, prediction = figures["model"], figures["replay"], figures["prediction"]
    if model["version"]:
        ours, theirs = model["metrics"], model["baseline"]
        compared = ", ".join(f"{n} {figure(ours[n])} (baseline {figure(theirs[n])})" for n in model["gate"]["metrics"])
        console.print(f"\n[bold]{model['name']}@{model['version']}[/] {compared}")
    measured = ", ".join(f"{name} {figure(value)}" for name, value in replay["metrics"].items())
    console.print(
        f"replay: {replay['compared']:,} of {replay['asked']:,} predictions compared with what came: {measured}"
    )
    if prediction:
        answer = ", ".join(f"{name} {figure(value)}" for name, value in prediction["answer"].items())
        console.print(f"prediction {prediction['id']}: {prediction['subject']} {answer}")
    for section in figures["sections"]:
        console.print(f"{section['title']}: {section['text']}")
    checks = figures["checks"]
    others = f"; not passed: {'; '.join(checks['not_passed'])}" if checks["not_passed"] else ""
    console.print(f"{checks['passed']:,} of {checks['evaluated']:,} checks passed{others}")
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
