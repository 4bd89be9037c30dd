"""Measures one filling of an empty online store: `python -m bench.materialize_once ours FILE FEATURES` prints JSON.

`bench.materialize` starts it, so that each side has a process, and a peak of memory, of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from bench.feature_rows import AS_OF, BEGIN, DOMAIN, service, stock_feast
from pipelines.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.materialize_once", description=__doc__)
    parser.add_argument("side", choices=("ours", "feast"))
    parser.add_argument("file", type=Path, help="the Parquet file of bench.feature_rows")
    parser.add_argument("features", type=int)
    parser.add_argument("--redis", help="the server, as Feast names it. [default: SQLite]")
    options = parser.parse_args()
    measure = _ours if options.side == "ours" else _feast
    with tempfile.TemporaryDirectory(dir=options.file.parent) as folder, contextlib.redirect_stdout(io.StringIO()):
        wall, cpu = measure(Path(folder), options.file, options.features, options.redis)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump({"seconds": wall, "cpu_seconds": cpu, "peak_memory_mb": peak}, sys.stdout)


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _ours(folder: Path, file: Path, features: int, redis: str | None) -> tuple[float, float]:
    """With Feast and the engine loaded before; with the table's digest, by which the next run sees late rows."""
    import feature_repo.redis_store  # noqa: F401
    from feature_repo.filling import materialize
    from feature_repo.state import DomainStore
    from pipelines.engine.session import Engine

    declared = service(folder, features)
    settings = Settings(home=folder / "home", redis_url=SecretStr(redis) if redis else None)
    with Engine.start("embedded", home=folder, threads=2) as engine:
        tables = {source: engine.session.read.parquet(str(file)) for source in declared.tables}
        return _seconds(lambda: materialize(DomainStore(settings, DOMAIN), [declared], tables, as_of=AS_OF))


def _feast(folder: Path, file: Path, features: int, redis: str | None) -> tuple[float, float]:
    store = stock_feast(folder, file, features, redis)
    return _seconds(lambda: store.materialize(BEGIN, AS_OF))


if __name__ == "__main__":
    main()
