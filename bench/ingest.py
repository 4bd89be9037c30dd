"""Governed bronze to silver against the bare engine, Polars, dlt and Great Expectations; each size in its own process.

The governed side is the whole asset run: pinned versions, verdict of 20 rules, the audit, commits, lineage, cost, the
recorded result. Every side reads the same bronze table and writes 365 days. Cold is the first run of a process, the
engine's start included; the others are warm.
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

#: Copies of the 336,776 flights, rounds, peers.
SIZES = ((1, 3, ("bare", "polars", "dlt", "gx")), (30, 2, ("bare", "polars", "gx")))


def measure(settings: Settings) -> list[Row]:
    return [row for copies, rounds, peers in SIZES for row in size(copies, rounds, peers)]


def size(copies: int, rounds: int, peers: tuple[str, ...]) -> list[Row]:
    """The rows of one size."""
    command = [sys.executable, "-m", "bench.ingest_once", str(copies), "--rounds", str(rounds)]
    command += [word for peer in peers for word in ("--peer", peer)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ)
    return list(_rows(json.loads(done.stdout)))


def _rows(found: dict[str, Any]) -> list[Row]:
    runs = found["runs"]
    label = f"{found['rows']:,.0f} rows"
    rows = [
        Row(f"{label}: cold", f"{found['cold']:.1f} s", "", None, "first run of a process"),
        Row(f"{label}: nothing new", f"{found['nothing_new']:.3f} s", "", None, "the asset, warm; aim 0.5 s"),
        Row(
            f"{label}: peak memory",
            f"{found['peak_memory_mb']:,.0f} MB",
            "",
            None,
            "of the first run, peers not yet loaded",
        ),
    ]
    aims = {"bare": "aim 1.3 at 10 million", "gx": "our whole run against its validation alone, 20 rules"}
    for peer in runs:
        if peer != "governed" and runs[peer]:
            pairs = list(zip(runs["governed"], runs[peer], strict=True))
            ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            name = "20 rules / none" if peer == "plain" else f"governed / {peer}"
            note = "aim 1.3" if peer == "plain" else aims.get(peer, "")
            rows.append(Row(f"{label}: {name}", f"{ours:.2f} s", f"{theirs:.2f} s", ratio, note))
    return rows
