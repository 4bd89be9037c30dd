"""Seconds of each stage of the demo, and its peak memory, from the last report in the home folder."""

from __future__ import annotations

import json

from bench.pairs import Row
from pipelines.settings import Settings


def measure(settings: Settings) -> list[Row]:
    path = settings.root / "demo" / "report.json"
    if not path.exists():
        return [Row("demo", "no report yet", "", None, "run `goldpath demo` first")]
    report = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(f"demo: {stage['name']}", f"{stage['seconds']:.1f} s", "", None) for stage in report["stages"]]
    total = sum(stage["seconds"] for stage in report["stages"])
    note = f"engine {report['engine']}, {report['generated_at'][:10]}"
    return [*rows, Row("demo: whole", f"{total:.0f} s, {report['peak_memory_mb']:,} MB", "", None, note)]
