"""A run's folder in the checkpoint storage: used by one run, which goes on there with the same configuration alone.

The check is ours because Ray Train continues any run whose folder it finds, whatever its configuration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pipelines.machine import files
from pipelines.models.program import RecipeError
from ray_jobs.core.errors import Interrupted, TrainingError
from ray_jobs.core.progress import Journal

RUN_FILE = "run.json"


def claim(folder: Path, identity: Mapping[str, str]) -> bool:
    """Writes the run's identity into its folder, which is created; or compares it with the one that is there.

    Returns whether the run goes on: it was in this folder before.

    Args:
        folder: On storage that all nodes reach as this path.
        identity: What must be the same when the run goes on, by name.

    Raises:
        TrainingError: if the folder is another run's.
    """
    path = folder / RUN_FILE
    if not path.exists():
        files.replace(path, json.dumps(dict(identity)))
        return False
    first_identity = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name, value in identity.items() if first_identity[name] != value]
    if changed:
        raise TrainingError(
            object=f"training run {folder.name}",
            observed=f"another {' and '.join(changed)} than when the run started",
            expected="the same recipe, table version and base model",
            next_step="go on with those, or choose a run name that was never used",
        )
    return True


def finished(folder: Path, run_name: str) -> Journal:
    """The journal of a run that came to its end; raises the error by which it was ended."""
    journal = Journal.read(folder)
    if journal is None:
        raise TrainingError(
            object=f"training run {run_name}",
            observed="it ended without a journal",
            expected=f"one in {folder}, which all nodes reach",
            next_step="use a storage path that is the same folder on every node, and read the workers' logs",
        )
    if journal.stopped is not None:
        facts = dict(journal.stopped)
        kind = {"RecipeError": RecipeError, "Interrupted": Interrupted}.get(facts.pop("kind"), TrainingError)
        raise kind(next_step=facts.pop("next"), **facts)
    return journal
