"""Dagster's home folder below Goldpath's own, with its instance file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipelines.settings import Settings

INSTANCE = """\
# Written once by goldpath; yours to change. Runs, schedules and events are kept in SQLite files in this folder.
telemetry:
  enabled: false
event_log_storage:
  module: pipelines.orchestration.event_log
  class: BatchedSqliteEventLogStorage
  config:
    base_dir: {history}
nux:
  enabled: false
run_monitoring:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
"""


def prepare(settings: Settings) -> Path:
    """Makes `<home>/dagster` and points DAGSTER_HOME of this process and its children to it.

    An instance file that is there is left as it is.
    """
    folder = settings.root / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    instance = folder / "dagster.yaml"
    if not instance.exists():
        instance.write_text(INSTANCE.format(history=json.dumps(str(folder / "history" / "runs"))), encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    return folder
