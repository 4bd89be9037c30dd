"""The run record: what a training run read, where it ran and what it produced.

The platform writes it, not the training program. A model without a run record cannot be registered.
"""

from __future__ import annotations

import json
import logging
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.machine import files

logger = logging.getLogger(__name__)
RECORD_FILE = "run_record.json"
#: How long git may take to tell the commit of the checkout, and then whether it was changed.
GIT_SECONDS = 20.0
LIBRARIES = ("goldpath", "torch", "ray", "feast", "deltalake", "pyspark", "pysail", "numpy")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is needed to identify a model, to repeat its training run and to judge it.

    Attributes:
        code_version: Git commit of the code, or the distribution's version outside a checkout.
        code_dirty: Whether the checkout had uncommitted changes; None outside a checkout.
        dataset_versions: The version of the training set and of each table that it was computed from, by table.
        as_of_rule: How point-in-time was decided.
        hyperparameters: The complete recipe.
        base_model: Digest of the model that was fine-tuned; None for one from scratch.
        base_image: Container image, where the run had one.
        accelerator: Name of the accelerator; "cpu" without one.
        artifacts: sha256 of each model file.
        efficiency: What the training took, as `efficiency.figures` names it; empty in records of earlier releases.
    """

    created_at: str
    code_version: str
    code_dirty: bool | None
    dataset_versions: Mapping[str, int]
    feature_service: str
    as_of_rule: str
    hyperparameters: Mapping[str, Any]
    environment: Mapping[str, str]
    base_model: str | None
    base_image: str | None
    accelerator: str
    artifacts: Mapping[str, str]
    dagster_run_id: str
    efficiency: Mapping[str, float] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Writes the record into `folder`, which is created; returns the file."""
        path = folder / RECORD_FILE
        files.replace(path, json.dumps(asdict(self), indent=1, sort_keys=True, default=str))
        return path

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Reads the record in `folder`; raises ModelError if there is none, or it lacks a field."""
        path = folder / RECORD_FILE
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, json.JSONDecodeError) as error:
            raise ModelError(
                object=f"model in {folder}",
                observed=f"no complete run record: {error}",
                expected=f"a {RECORD_FILE} that the platform wrote when the model was trained",
                next_step="train the model through its Dagster asset, which writes the record",
            ) from None


def code_version(root: Path) -> tuple[str, bool | None]:
    """The commit of the checkout at `root` and whether it is dirty; else the distribution's version and None.

    A checkout whose state git does not tell within a bounded time has the commit alone: a finished training does not
    wait for a slow disk, nor fail.
    """
    try:
        commit = _git(root, "rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("git does not tell the commit of %s: %s", root, error)
        return f"goldpath {metadata.version('goldpath')}", None
    try:
        return commit, bool(_git(root, "status", "--porcelain"))
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("git does not tell whether %s was changed since its commit: %s", root, error)
        return commit, None


def environment() -> dict[str, str]:
    """Interpreter, operating system and the versions of the libraries that decide a result."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"python": sys.version.split()[0], "system": platform.platform(), **versions}


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat()


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=GIT_SECONDS).stdout.strip()
