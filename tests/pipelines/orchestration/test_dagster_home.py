"""The instance file is written once; of an existing one only what an earlier version wrote is replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.errors import SettingsError
from pipelines.orchestration import dagster_home
from pipelines.orchestration.event_log import BatchedSqliteEventLogStorage
from pipelines.settings import PROJECT, Settings

#: An instance file of an earlier version, with a user's changes to it.
FORMER = """\
# Written once by goldpath; yours to change.
event_log_storage:
  module: pipelines.event_log  # batches
  class: BatchedSqliteEventLogStorage
  config:
    base_dir: "/some/home/history"\r
run_coordinator:
  module: pipelines.event_log_of_ours
concurrency:
    runs: {max_concurrent_runs: 7}
"""


@pytest.fixture(autouse=True)
def environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def instance_file(tmp_path: Path) -> Path:
    path = tmp_path / "dagster" / "dagster.yaml"
    path.parent.mkdir()
    return path


def test_a_new_home_has_an_instance_file_that_dagster_loads(tmp_path: Path) -> None:
    folder = dagster_home.prepare(Settings(home=tmp_path))
    assert os.environ["DAGSTER_HOME"] == str(folder) == str(tmp_path / "dagster")
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, BatchedSqliteEventLogStorage)
    assert (folder / "history" / "runs").is_dir()


def test_the_former_module_of_the_event_log_is_replaced_and_nothing_else(tmp_path: Path, instance_file: Path) -> None:
    instance_file.write_bytes(FORMER.encode())
    dagster_home.prepare(Settings(home=tmp_path))
    expected = FORMER.replace("pipelines.event_log  #", "pipelines.orchestration.event_log  #")
    assert instance_file.read_bytes() == expected.encode()


@pytest.mark.parametrize(
    "content", ["", "# mine\n", "event_log_storage:\n  module: pipelines.orchestration.event_log\n"]
)
def test_an_instance_file_without_the_former_module_is_not_written(
    tmp_path: Path, instance_file: Path, content: str
) -> None:
    instance_file.write_text(content, encoding="utf-8")
    before = instance_file.stat()
    dagster_home.prepare(Settings(home=tmp_path))
    assert instance_file.read_text(encoding="utf-8") == content
    assert (instance_file.stat().st_ino, instance_file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_instance_file_of_an_earlier_version_that_nobody_changed_gets_the_coordinator(
    tmp_path: Path, instance_file: Path
) -> None:
    coordinator = "run_coordinator:\n  module: pipelines.orchestration.run_queue\n  class: TeamRunCoordinator\n"
    former = dagster_home.INSTANCE.replace(coordinator, "")
    assert former != dagster_home.INSTANCE
    instance_file.write_text(former, encoding="utf-8")
    dagster_home.prepare(Settings(home=tmp_path))
    assert instance_file.read_text(encoding="utf-8") == dagster_home.INSTANCE
    changed = former.replace("max_concurrent_runs: 2", "max_concurrent_runs: 7")
    instance_file.write_text(changed, encoding="utf-8")
    dagster_home.prepare(Settings(home=tmp_path))
    assert instance_file.read_text(encoding="utf-8") == changed


OPENS = """\
import sys
from pathlib import Path
import dagster
from pipelines.orchestration import dagster_home
from pipelines.settings import Settings
print("ready", flush=True)
sys.stdin.readline()
with dagster_home.instance(Settings(home=Path(sys.argv[1]))) as instance:
    assert instance.get_runs() == []
"""


def test_processes_that_open_a_new_home_at_once_find_one_instance(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENS, str(tmp_path / "home")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, cwd=PROJECT, text=True, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 3
    for process in processes:
        if process.stdin:
            process.stdin.write("go\n")
            process.stdin.flush()
    failures = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], failures


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_home_that_was_copied_keeps_its_events_in_its_own_folder(
    tmp_path: Path, instance_file: Path, end: str
) -> None:
    lines = FORMER.replace("\r", "").replace("/some/home/history", "/the first/home/dagster/history/runs")
    instance_file.write_bytes(lines.replace("\n", end).encode())
    folder = dagster_home.prepare(Settings(home=tmp_path))
    assert b"/the first" not in instance_file.read_bytes()
    assert b"max_concurrent_runs: 7" in instance_file.read_bytes()
    assert not Path("/the first").exists()
    instance_file.write_text(dagster_home.INSTANCE, encoding="utf-8")
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        assert isinstance(storage, BatchedSqliteEventLogStorage)
        assert Path(storage.path_for_shard("index")).parent == folder / "history" / "runs"


@pytest.mark.parametrize("file", ["home", "home/dagster"])
def test_a_home_that_is_a_file_is_refused_with_its_name(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match=f"{path} is a file.* set GOLDPATH_HOME"):
        dagster_home.prepare(Settings(home=tmp_path / "home"))
