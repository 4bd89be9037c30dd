"""Governed bronze to silver against the bare engine, Polars, dlt and Great Expectations; each size in its own process.

The governed side is a complete asset run: pinned versions, verdict of 20 rules, audit, commits, lineage, cost and the
recorded result. Each side reads the same bronze table and writes 365 days. The cold figure is that of the first run of
a process, the engine's start included; the others are of later runs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

from bench.pairs import Row
from pipelines.settings import Settings

#: For each size: the number of copies of the 336,776 flights, of rounds, and the peers.
SIZES = ((1, 3, ("bare", "polars", "dlt", "gx")), (30, 2, ("bare", "polars", "gx")))


def measure(settings: Settings) -> list[Row]:
    return [row for copies, rounds, peers in SIZES for row in _measure_size(copies, rounds, peers)]


def _measure_size(copies: int, rounds: int, peers: tuple[str, ...]) -> list[Row]:
    command = [sys.executable, "-m", "bench.ingest_once", str(copies), "--rounds", str(rounds)]
    command += [word for peer in peers for word in ("--peer", peer)]
    process = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ)
    return list(_rows(json.loads(process.stdout)))


def _rows(figures: dict[str, Any]) -> list[Row]:
    runs = figures["runs"]
    label = f"{figures['rows']:,.0f} rows"
    memory, memory_note = f"{figures['peak_memory_mb']:,.0f} MB", "of the first run, before peers are loaded"
    rows = [
        Row(f"{label}: cold", f"{figures['cold']:.1f} s", "", None, "first run of a process"),
        Row(f"{label}: nothing new", f"{figures['nothing_new']:.3f} s", "", None, "the asset, warm; aim 0.5 s"),
        Row(f"{label}: peak memory", memory, "", None, memory_note),
    ]
    aims = {"bare": "aim 1.3 at 10 million", "gx": "a complete governed run against its validation only, 20 rules"}
    for peer in runs:
        if peer != "governed" and runs[peer]:
            pairs = list(zip(runs["governed"], runs[peer], strict=True))
            ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            name = "20 rules / none" if peer == "plain" else f"governed / {peer}"
            note = "aim 1.3" if peer == "plain" else aims.get(peer, "")
            rows.append(Row(f"{label}: {name}", f"{ours:.2f} s", f"{theirs:.2f} s", ratio, note))
    return rows
