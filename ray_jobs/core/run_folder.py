"""A run's folder in the checkpoint storage: never used by two runs, and resumed only by the run that made it.

Ray Train silently continues a run whose name it finds, whatever its configuration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pyarrow.fs as pafs

from ray_jobs.core.errors import TrainingError

RUN_FILE = "run.json"


def claim(storage_path: str, run_name: str, identity: Mapping[str, str], *, resume: Literal["never", "always"]) -> None:
    """Makes the folder and notes what the run is; to resume, proves that the same run goes on.

    Args:
        storage_path: Absolute path or URI.
        run_name: The folder's name.
        identity: What must not change between start and resumption, by name.
        resume: "never" refuses a folder that exists, "always" one that doesn't.

    Raises:
        TrainingError: if it is refused.
    """
    files, root = pafs.FileSystem.from_uri(storage_path)
    folder = f"{root}/{run_name}"
    exists = files.get_file_info(folder).type != pafs.FileType.NotFound
    if exists != (resume == "always"):
        raise TrainingError(
            object=f"training run {run_name}",
            observed=f"{folder} {'exists' if exists else 'does not exist'}",
            expected="a new name" if exists else "the folder of the run to resume",
            next_step="choose a run name that was never used" if exists else 'start it with resume="never"',
        )
    if not exists:
        files.create_dir(folder)
        with files.open_output_stream(f"{folder}/{RUN_FILE}") as stream:
            stream.write(json.dumps(dict(identity)).encode())
        return
    with files.open_input_stream(f"{folder}/{RUN_FILE}") as stream:
        noted = json.loads(stream.read())
    changed = [name for name, value in identity.items() if noted[name] != value]
    if changed:
        raise TrainingError(
            object=f"training run {run_name}",
            observed=f"another {' and '.join(changed)} than when it started",
            expected="the same recipe, table version and base model",
            next_step="resume it with those, or start a new run",
        )


def digest(model_dir: Path | None) -> str:
    """Names a base model: the checksum of its configuration, which holds that of its weights."""
    return hashlib.sha256((model_dir / "model.json").read_bytes()).hexdigest() if model_dir else "none"
