"""A program for the tests: ingests rounds of deliveries, and kills itself with SIGKILL at the step that it is told.

It reads one order a line from its input, works on each in a forked child, and answers with the child's wait status. A
step is a call of one of the functions in `_steps`, which are wrapped here: the platform knows nothing of it.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.landing.ledger import Ledger
from pipelines.landing.stores import FolderStore
from pipelines.lineage.events import LineageLog
from pipelines.tables import TableId
from tests.end_to_end.two_roads import Ingestion


class Kill:
    """Counts the steps, and ends the process before or after the one that it is armed for."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._counts: Counter[str] = Counter()
        self._armed: tuple[str, int, str] | None = None

    def arm(self, at: tuple[str, int, str] | None) -> None:
        self.seen.clear()
        self._counts.clear()
        self._armed = at

    def wrap(self, owner: Any, name: str, word: Callable[..., str] | None = None) -> None:
        whole = getattr(owner, name)

        @functools.wraps(whole)
        def step(*arguments: Any, **more: Any) -> Any:
            kind = f"{name} {word(*arguments)}" if word else f"{owner.__name__}.{name}"
            number = self._counts[kind]
            self._counts[kind] += 1
            self.seen.append(kind)
            self._die((kind, number, "before"))
            result = whole(*arguments, **more)
            self._die((kind, number, "after"))
            return result

        setattr(owner, name, step)

    def _die(self, here: tuple[str, int, str]) -> None:
        if here == self._armed:
            os.kill(os.getpid(), signal.SIGKILL)


def _steps(kill: Kill) -> None:
    """Wraps what a run writes with; a file of Parquet is finished when it gets its footer."""
    import pyarrow.parquet as pq

    from pipelines.medallion.derived_from import DerivedFrom

    def zone(_: Any, table: TableId, *rest: Any) -> str:
        return table.zone

    for name in ("plan", "duplicates", "refuse"):
        kill.wrap(Ledger, name)
    kill.wrap(FolderStore, "put", lambda _, path, content: "manifest" if "manifest" in path else "file")
    kill.wrap(Path, "rename")
    kill.wrap(Path, "replace")
    kill.wrap(pq.ParquetWriter, "close")
    for name in ("stage", "stage_arrow", "create", "commit"):
        kill.wrap(EmbeddedLakehouse, name, zone)
    kill.wrap(EmbeddedLakehouse, "record", lambda _, table, rows: table.table)
    kill.wrap(EmbeddedLakehouse, "gathered")
    kill.wrap(DerivedFrom, "note")
    kill.wrap(LineageLog, "_emit", lambda _, state, *rest: state)
    kill.wrap(shutil, "rmtree")


def work(order: dict[str, Any]) -> None:
    """Does each step of an order: what arrives in some rounds, a run over it, and a record of what is there then.

    A step's `kill` is the kind of call, its number among those of its kind in the step, and `before` or `after`.
    """
    kill = Kill()
    _steps(kill)
    home = Path(order["home"])
    ingestion = Ingestion(home)
    for step in order["steps"]:
        kill.arm(tuple(step["kill"]) if step.get("kill") else None)
        for number in step["rounds"]:
            ingestion.arrive(number)
            if number > 1:
                ingestion.decide(number - 2)
        failures = ingestion.run()
        assert not failures, failures
        steps = list(kill.seen)
        record = {"tables": ingestion.seen(), "litter": ingestion.litter(), "steps": steps}
        (home / f"round_{step['rounds'][-1]}.json").write_text(json.dumps(record), encoding="utf-8")
    ingestion.platform.close()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                work(json.loads(line))
                os._exit(0)
            except BaseException:  # noqa: BLE001 - the end of a child that must not go on in its parent's loop
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    # Loaded once, before the children are forked.
    import deltalake  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import pyspark.sql.connect.session  # noqa: F401

    main()
