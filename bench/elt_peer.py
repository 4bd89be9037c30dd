"""LakeBench's side of `bench.elt`, run in LakeBench's environment: `python elt_peer.py data|Polars|Sail FOLDER`.

`data` writes the TPC-DS files at scale 1; the name of an engine runs ELT mode on them and prints `{phase: seconds}`.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import tempfile
from pathlib import Path

TABLES = ("store_sales", "date_dim", "store", "item", "customer")


def main(task: str, folder: Path) -> None:
    logging.disable()
    if task == "data":
        datagen = importlib.import_module("lakebench.datagen")
        datagen.TPCDSDataGenerator(scale_factor=1, target_folder_uri=str(folder), table_list=list(TABLES)).run()
        return
    engine = getattr(importlib.import_module("lakebench.engines"), task)
    benchmarks = importlib.import_module("lakebench.benchmarks")
    with tempfile.TemporaryDirectory(prefix="goldpath-bench-") as tables:
        bench = benchmarks.ELTBench(engine(tables), "light", scale_factor=1, input_folder_uri=str(folder))
        bench.run(mode="light")
    phases: dict[str, float] = {}
    for result in bench.results:
        if not result["success"]:
            raise SystemExit(f"{task}: {result['phase']} failed: {result['error_message']}")
        phases[result["phase"]] = phases.get(result["phase"], 0.0) + result["duration_ms"] / 1000
    json.dump(phases, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
