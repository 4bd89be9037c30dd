"""`python -m bench`: prints one table of measurements, each with that of its peer and their ratio."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines import settings
from pipelines.machine import ray_environment
from pipelines.orchestration import dagster_home

PARTS = {
    "startup": "fresh processes: the code location and two commands against importing Dagster alone",
    "road": "seconds of each stage of the last demo",
    "ingest": "governed bronze to silver against the bare engine, Polars, dlt and Great Expectations",
    "one_day": "a day of 900 rows into a table of a year, landed to published, warm and cold",
    "elt": "LakeBench's ELT mode, governed, beside its bare engines",
    "late_merges": "0.1 % merged into 2.9 million rows of 23 columns against a bare merge by delta-rs",
    "merges": "200 small merges, the last ones against the first ones",
    "asof": "the as-of join against DuckDB's ASOF JOIN",
    "materialize": "filling an empty online store against `feast materialize`, SQLite and Redis",
    "online": "reading features in process against stock Feast, SQLite and Redis",
    "service": "the prediction service against a bare Ray Serve app, and during a rollout against without one",
    "push": "the push server against a bare endpoint that appends to a file and syncs it",
    "freshness": "from durable in landing to readable online, in micro-batches",
    "train": "seconds a step: Ray Train through the fabric against bare torchrun",
    "train_language": "SmolLM2 by adapters against a plain loop of transformers and peft; on a GPU all weights too",
    "train_input": "10 million rows: how long two workers wait for them and for checkpoints, and memory",
    "model": "the model on the reference split, January to September against October to December",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parts = "; ".join(f"{name}: {description}" for name, description in PARTS.items())
    parser.add_argument("--only", action="append", choices=PARTS, help=f"measure only this part. {parts}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    options = parser.parse_args()
    current = settings.get()
    dagster_home.prepare(current)
    ray_environment.prepare_environment(current)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("measurement", "ours", "peer", "ours / peer", "note"):
        table.add_column(column, justify="right" if column == "ours / peer" else "left", overflow="fold")
    rows = []
    console = Console()
    for name in options.only or PARTS:
        started = time.perf_counter()
        with console.status(f"{name}: {PARTS[name]}"):
            rows += importlib.import_module(f"bench.{name}").measure(current)
        console.print(f"[dim]{name}: {time.perf_counter() - started:.0f} s[/]")
    for row in rows:
        table.add_row(row.name, row.ours, row.peer, "" if row.ratio is None else f"{row.ratio:.2f}", row.note)
    console.print(table)
    load = os.getloadavg()[0]
    console.print(f"[dim]{os.cpu_count()} cores, load {load:.1f}; compare ratios: seconds depend on the load[/]")
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
