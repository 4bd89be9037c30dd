"""Dagster's home folder, `<home>/dagster`, with its instance file `dagster.yaml`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import SettingsError
from pipelines.machine import files, locks
from pipelines.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

INSTANCE = """\
# Written once by goldpath; yours to change. Runs, schedules and events are kept in SQLite files in this folder.
telemetry:
  enabled: false
event_log_storage:
  module: pipelines.orchestration.event_log
  class: BatchedSqliteEventLogStorage
nux:
  enabled: false
run_monitoring:
  enabled: false
run_coordinator:
  module: pipelines.orchestration.run_queue
  class: TeamRunCoordinator
concurrency:
  runs:
    max_concurrent_runs: 2
"""
#: The coordinator's part of it, which earlier versions did not write.
_COORDINATOR = INSTANCE[INSTANCE.index("run_coordinator:") : INSTANCE.index("concurrency:")]
#: The module of the event log storage as an earlier version of Goldpath wrote it into the instance file.
_FORMER_MODULE = re.compile(rb"(?m)^([ \t]*module:[ \t]*)pipelines\.event_log(?![\w.])")
#: The folder of the event log as an earlier version wrote it: absolute, so that a copied home wrote into the first one.
_FORMER_FOLDER = re.compile(
    rb'(?m)^[ \t]*config:[ \t]*\r?\n[ \t]*base_dir: "[^"\n]*/dagster/history/runs"[ \t]*(\r?\n|\Z)'
)


def prepare(settings: Settings) -> Path:
    """Creates `<home>/dagster` and sets DAGSTER_HOME of this process and its children to it.

    The instance file is written if there is none, and names no path, so that a home can be moved and copied. In an
    existing one only what an earlier version wrote is replaced: the former name of the event log storage's module, the
    absolute path of its folder, and a whole file that nobody changed, which gets the coordinator of runs. The rest is
    the user's.
    """
    folder = settings.root / "dagster"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        above = next(path for path in (folder, *folder.parents) if path.exists() and not path.is_dir())
        raise SettingsError(
            object=f"home folder {settings.root}",
            observed=f"{above} is a file",
            expected="a folder, or a name that is free",
            next_step="set GOLDPATH_HOME to another folder, or move that file away",
        ) from None
    instance = folder / "dagster.yaml"
    if not instance.exists():
        files.replace(instance, INSTANCE)
    else:
        content = instance.read_bytes()
        updated = _FORMER_FOLDER.sub(b"", _FORMER_MODULE.sub(rb"\1pipelines.orchestration.event_log", content))
        if updated == INSTANCE.replace(_COORDINATOR, "").encode():
            updated = INSTANCE.encode()
        if updated != content:
            files.replace(instance, updated)
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    return folder


def instance(settings: Settings) -> DagsterInstance:
    """Dagster's instance of the home, which `prepare` has made known to this process."""
    return _opened(settings, {})


def instance_of_a_guest(settings: Settings) -> DagsterInstance:
    """Dagster's instance for a run in a process that belongs to another program, as Feast's feature server.

    The process keeps its output: Dagster would capture it for the run's page by processes of its own, whose end it
    waits for by SIGTERM, 30 seconds each in a program that has told its children to ignore that signal.
    """
    no_capture = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return _opened(settings, {"compute_logs": no_capture})


def _opened(settings: Settings, overrides: Mapping[str, Any]) -> DagsterInstance:
    """The instance; one process at a time opens it, since the first one makes its databases."""
    from dagster import DagsterInstance
    from dagster._core.instance.ref import InstanceRef

    folder = prepare(settings)
    with locks.held(settings.root / "locks" / "dagster.lock", purpose="opening Dagster's databases"):
        return DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=dict(overrides)))
