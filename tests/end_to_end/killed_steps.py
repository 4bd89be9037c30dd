"""A program of test_kill_anywhere.py: ingests rounds of deliveries, and kills itself (SIGKILL) at a given call.

It reads one order per line from its input, works on each in a forked child, and prints the child's exit code. The calls
at which it can be killed are those of the functions in `_wrap_calls`, which are wrapped here, not in the platform.
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
from tests.end_to_end.two_sources import Ingestion

#: The kind of a call, its number among the calls of that kind, and `before` or `after`.
CallPoint = tuple[str, int, str]


class Killer:
    """Records calls, and kills the process before or after the call for which it is armed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._counts: Counter[str] = Counter()
        self._armed: CallPoint | None = None

    def arm(self, at: CallPoint | None) -> None:
        """Forgets all calls; kills at `at` from now on, at no call if it is None."""
        self.calls.clear()
        self._counts.clear()
        self._armed = at

    def wrap(self, owner: Any, name: str, detail: Callable[..., str] | None = None) -> None:
        """Replaces a function by one that records its calls.

        Args:
            owner: The class or module of the function.
            name: The function's name.
            detail: Returns what tells kinds of calls of the function apart, from its arguments; None if nothing does.
        """
        original = getattr(owner, name)

        @functools.wraps(original)
        def recorded(*arguments: Any, **keywords: Any) -> Any:
            kind = f"{name} {detail(*arguments)}" if detail else f"{owner.__name__}.{name}"
            number = self._counts[kind]
            self._counts[kind] += 1
            self.calls.append(kind)
            self._kill_at((kind, number, "before"))
            result = original(*arguments, **keywords)
            self._kill_at((kind, number, "after"))
            return result

        setattr(owner, name, recorded)

    def _kill_at(self, point: CallPoint) -> None:
        if point == self._armed:
            os.kill(os.getpid(), signal.SIGKILL)


def _wrap_calls(killer: Killer) -> None:
    """Wraps the functions by which a run writes. The close of a ParquetWriter writes the file's footer."""
    import pyarrow.parquet as pq

    from pipelines.medallion import judging, rejected
    from pipelines.medallion.derived_from import DerivedFrom

    def zone(_: Any, table: TableId, *rest: Any) -> str:
        return table.zone

    for name in ("plan", "duplicates", "refuse"):
        killer.wrap(Ledger, name)
    killer.wrap(FolderStore, "put", lambda _, path, content: "manifest" if "manifest" in path else "file")
    killer.wrap(Path, "rename")
    killer.wrap(Path, "replace")
    killer.wrap(pq.ParquetWriter, "close")
    for name in ("stage", "stage_arrow", "create", "commit"):
        killer.wrap(EmbeddedLakehouse, name, zone)
    killer.wrap(EmbeddedLakehouse, "record", lambda _, table, rows: table.table)
    for module in (judging, rejected):
        killer.wrap(module, "gathered")
    killer.wrap(DerivedFrom, "note")
    killer.wrap(LineageLog, "_emit", lambda _, state, *rest: state)
    killer.wrap(shutil, "rmtree")


def work(order: dict[str, Any]) -> None:
    """Does each step of an order: deliveries of some rounds arrive, a run takes them, and a record is written.

    A step's `kill` is the call point at which the process is killed, counted within the step. The record has the
    tables' contents, leftover files and the calls.
    """
    killer = Killer()
    _wrap_calls(killer)
    home = Path(order["home"])
    ingestion = Ingestion(home)
    for step in order["steps"]:
        killer.arm(tuple(step["kill"]) if step.get("kill") else None)
        for number in step["rounds"]:
            ingestion.arrive(number)
            if number > 1:
                ingestion.decide(number - 2)
        failures = ingestion.run()
        assert not failures, failures
        calls = list(killer.calls)
        record = {"tables": ingestion.contents(), "leftovers": ingestion.leftovers(), "calls": calls}
        (home / f"round_{step['rounds'][-1]}.json").write_text(json.dumps(record), encoding="utf-8")
    ingestion.platform.close()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                work(json.loads(line))
                os._exit(0)
            except BaseException:  # noqa: BLE001 - the child must not continue its parent's loop
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    # Imported once, before the children are forked.
    import deltalake  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import pyspark.sql.connect.session  # noqa: F401

    main()
