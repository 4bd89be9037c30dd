"""A model's files: safetensors and JSON alone, identified by one digest over all of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipelines.errors import ModelError

ALLOWED = (".safetensors", ".json")


def checksums(folder: Path) -> dict[str, str]:
    """The sha256 of every file below the folder, by relative path.

    Raises:
        ModelError: for an empty folder, a link, or a file that is neither safetensors nor JSON: a pickle runs code.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    if not files:
        raise ModelError(
            object=f"model in {folder}",
            observed="no files",
            expected="model.safetensors and model.json",
            next_step="train it, or correct the path",
        )
    for path in files:
        if path.is_symlink() or path.suffix not in ALLOWED:
            raise ModelError(
                object=f"model file {path.name}",
                observed="a link" if path.is_symlink() else f"suffix {path.suffix!r}",
                expected=f"a plain file with suffix {' or '.join(ALLOWED)}",
                next_step="save weights as safetensors and everything else as JSON; pickles are never loaded",
            )
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def digest(folder: Path) -> str:
    """One sha256 over the names and checksums of all files of a model."""
    manifest = json.dumps(checksums(folder), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(manifest.encode()).hexdigest()


def verify(folder: Path, expected: str) -> None:
    """Raises ModelError unless the model's digest is `expected`."""
    observed = digest(folder)
    if observed != expected:
        raise ModelError(
            object=f"model in {folder.name}",
            observed=f"digest {observed[:16]}…",
            expected=f"digest {expected[:16]}…, as it was registered",
            next_step="do not use these files: something changed them; download the version from the registry again",
        )


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
