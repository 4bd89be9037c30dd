"""A run's folder in the checkpoint storage: used by one run, and resumed with the same configuration alone.

The check is ours because Ray Train continues any run whose folder it finds, whatever its configuration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

import pyarrow.fs as pafs

from ray_jobs.core.errors import TrainingError

RUN_FILE = "run.json"


def claim(storage_path: str, run_name: str, identity: Mapping[str, str], *, resume: Literal["never", "always"]) -> None:
    """Creates the folder and writes the run's identity into it; to resume, compares the identity with the one there.

    Args:
        storage_path: Absolute path or URI.
        run_name: The folder's name.
        identity: What must be the same at start and at resumption, by name.
        resume: "never" to start a run, in a folder that does not exist; "always" to resume one, in its folder.

    Raises:
        TrainingError: if the folder exists at start or is absent at resumption, or the identity differs.
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
        first_identity = json.loads(stream.read())
    changed = [name for name, value in identity.items() if first_identity[name] != value]
    if changed:
        raise TrainingError(
            object=f"training run {run_name}",
            observed=f"another {' and '.join(changed)} than when the run started",
            expected="the same recipe, table version and base model",
            next_step="resume it with those, or start a new run",
        )
