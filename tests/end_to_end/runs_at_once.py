"""A program of test_runs_at_once.py: processes that run the same assets at the same time, each with its own engine.

Its argument is an order as JSON. `homes` has the home folder of each process, and `days` the first and last day that
each runs, or null for all that has landed. Where the home folders differ, as on machines that share no locks, `shared`
is the folder of their common lakehouse and landing zone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.end_to_end.two_sources import Ingestion, assets

ROUNDS = 2


def open_ingestion(order: dict[str, Any], home: str) -> Ingestion:
    shared = order.get("shared")
    options = {"lakehouse_uri": f"{shared}/lakehouse", "landing_uri": f"{shared}/landing"} if shared else {}
    return Ingestion(Path(home), **options)


def run(ingestion: Ingestion, days: list[str] | None) -> list[str]:
    """Runs all tables over everything that has landed, or only the parts of some days; returns messages of failures."""
    if days is not None:
        return ingestion.materialize(assets().parts, *days)
    groups = [assets().orders[1:], assets().parts, assets().gold]
    return [message for group in groups for message in ingestion.materialize(group)]


def fork(work: Callable[[], list[str]]) -> int:
    """Starts a process and returns its id; it exits with 0 if the work returns no messages of failures."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            failures = work()
            print(*failures, sep="\n", file=sys.stderr, flush=True)
            code = 1 if failures else 0
        finally:
            os._exit(code)
    return child


def run_at_once(order: dict[str, Any]) -> bool:
    """Starts the processes, and their runs when the last one is ready; returns whether all exited with 0."""
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()

    def run_after_start(home: str, days: list[str] | None) -> list[str]:
        os.close(go_write)
        ingestion = open_ingestion(order, home)
        assert ingestion.platform.engine
        os.write(ready_write, b".")
        os.read(go_read, 1)  # returns when the parent closes the other end
        return run(ingestion, days)

    children = [
        fork(lambda home=home, days=days: run_after_start(home, days))
        for home, days in zip(order["homes"], order["days"], strict=True)
    ]
    for _ in children:
        os.read(ready_read, 1)
    os.close(go_write)
    exit_codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    for descriptor in (ready_read, ready_write, go_read):
        os.close(descriptor)
    return exit_codes == [0] * len(children)


def main(order: dict[str, Any]) -> None:
    home = order["homes"][0]
    succeeded = []
    for number in range(ROUNDS):

        def land_round(number: int = number) -> list[str]:
            ingestion = open_ingestion(order, home)
            ingestion.arrive(number)
            return ingestion.materialize(assets().orders[:1])

        assert os.waitpid(fork(land_round), 0)[1] == 0
        succeeded.append(run_at_once(order))
    ingestion = open_ingestion(order, home)
    report: dict[str, Any] = {"succeeded": succeeded, "failures": run(ingestion, None)}
    report |= {"tables": ingestion.contents(), "leftovers": ingestion.leftovers()}
    print(json.dumps(report))
    ingestion.platform.close()


if __name__ == "__main__":
    # Imported once, before the processes are forked.
    import deltalake  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import pyspark.sql.connect.session  # noqa: F401

    main(json.loads(sys.argv[1]))
