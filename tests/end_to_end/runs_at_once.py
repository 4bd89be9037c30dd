"""A program for the tests: processes that run the same assets at the same moment, each with an engine of its own.

Its argument is an order as JSON: the `homes`, one for each process, and what each runs between two days; `shared` is the
lakehouse and landing of all of them where their homes are several, as those of machines without a common lock are.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.end_to_end.two_roads import Ingestion, assets

ROUNDS = 2


def ingestion(order: dict[str, Any], home: str) -> Ingestion:
    shared = order.get("shared")
    more = {"lakehouse_uri": f"{shared}/lakehouse", "landing_uri": f"{shared}/landing"} if shared else {}
    return Ingestion(Path(home), **more)


def run(made: Ingestion, days: list[str] | None) -> list[str]:
    """Everything that has landed, or only the parts of some days; what the failures say."""
    roads = [assets().orders[1:], assets().parts, assets().gold]
    if days is not None:
        return made.materialize(assets().parts, *days)
    return [words for road in roads for words in made.materialize(road)]


def apart(work: Any) -> int:
    """Starts a process, and returns its id; it ends with 0 if the work finds nothing wrong."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            wrong = work()
            print(*wrong, sep="\n", file=sys.stderr, flush=True)
            code = 1 if wrong else 0
        finally:
            os._exit(code)
    return child


def at_once(order: dict[str, Any]) -> bool:
    """Starts the processes, and lets them go when each is ready; whether all ended well."""
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()

    def one(home: str, days: list[str] | None) -> list[str]:
        os.close(go_write)
        made = ingestion(order, home)
        assert made.platform.engine
        os.write(ready_write, b".")
        os.read(go_read, 1)  # ends when the parent closes the other end
        return run(made, days)

    children = [
        apart(lambda home=home, days=days: one(home, days))
        for home, days in zip(order["homes"], order["days"], strict=True)
    ]
    for _ in children:
        os.read(ready_read, 1)
    os.close(go_write)
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    for end in (ready_read, ready_write, go_read):
        os.close(end)
    return ended == [0] * len(children)


def main(order: dict[str, Any]) -> None:
    home = order["homes"][0]
    well = []
    for number in range(ROUNDS):

        def arrives(number: int = number) -> list[str]:
            made = ingestion(order, home)
            made.arrive(number)
            return made.materialize(assets().orders[:1])

        assert os.waitpid(apart(arrives), 0)[1] == 0
        well.append(at_once(order))
    made = ingestion(order, home)
    wrong = run(made, None)
    print(json.dumps({"well": well, "wrong": wrong, "tables": made.seen(), "litter": made.litter()}))
    made.platform.close()


if __name__ == "__main__":
    # Loaded once, before the processes are forked.
    import deltalake  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import pyspark.sql.connect.session  # noqa: F401

    main(json.loads(sys.argv[1]))
