"""One writer of a table at a time on a machine; what it staged is removed, also where it was killed."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.lakehouse.staging import Overwrite
from pipelines.settings import PROJECT
from tests.pipelines.lakehouse.blocks import (
    QUARANTINE,
    TABLE,
    ids,
    publish,
    read,
    row,
    stage,
)

#: Locks the table, stages rows for it, prints their folder and waits to be killed before it commits.
KILLED = """
import sys, time
from pathlib import Path
import pyarrow as pa
from pipelines.lakehouse.arrow_stage import Part
from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.tables import PARTITION, TableId
house = EmbeddedLakehouse(root=sys.argv[1], engine=lambda: None, locks=Path(sys.argv[2]))
table, schema = TableId("silver", "toys", "blocks"), pa.schema([("id", pa.string()), (PARTITION, pa.string())])
with house.writing(table):
    batch = pa.RecordBatch.from_pylist([{"id": "a", PARTITION: "d"}], schema=schema)
    staged = house.stage_arrow(table, [Part("d", [batch], print)], schema=schema)
    print(staged.folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holding(embedded: EmbeddedLakehouse) -> Iterable[Callable[[], tuple[subprocess.Popen[str], Path]]]:
    """Starts another writer of the table; returns its process and its staging folder."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], Path]:
        command = [sys.executable, "-c", KILLED, str(embedded.root), str(embedded.locks)]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_removals() -> None:
    """Waits until this process has removed the staged files of the writers that have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("staged files"):
            thread.join()


def test_a_writer_locks_its_table_and_no_other(
    embedded: EmbeddedLakehouse, holding: Callable[[], tuple[subprocess.Popen[str], Path]]
) -> None:
    process, staged = holding()
    lock = embedded.locks / f"{TABLE.source_name}.lock"
    with lock.open("w") as handle, pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with embedded.writing(QUARANTINE):
        assert any(staged.rglob("*.parquet"))
    assert process.poll() is None


def test_staged_files_of_a_killed_writer_are_not_visible_and_are_removed_by_the_next(
    embedded: EmbeddedLakehouse, holding: Callable[[], tuple[subprocess.Popen[str], Path]]
) -> None:
    process, staged = holding()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(staged.rglob("*.parquet"))
    assert embedded.version(TABLE) is None
    with embedded.writing(TABLE):
        assert not staged.exists()
        publish(embedded, [row("a")], Overwrite())
    assert ids(read(embedded)) == ["a"]
    wait_for_removals()
    assert not list((embedded.root / "_staging").glob("*/*"))


def test_staged_files_of_a_failing_writer_are_removed(embedded: EmbeddedLakehouse) -> None:
    with pytest.raises(ZeroDivisionError), embedded.writing(TABLE):  # noqa: PT012
        staged = stage(embedded, [row("a")])
        1 / 0  # noqa: B018
    wait_for_removals()
    assert not staged.folder.exists()
    assert embedded.version(TABLE) is None
