"""The folder of a training, which a run that was interrupted leaves to the next one that asks for the same.

A run that is killed leaves its note in the folder. The next run with the same configuration takes the folder over and
goes on from the last checkpoint; any other run gets a new folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pipelines.machine import files, locks
from pipelines.models.program import Program

#: What an unfinished training is, as JSON.
NOTE = "unfinished.json"
LOCK = ".lock"


@contextlib.contextmanager
def claimed(root: Path, model: str, new: str, identity: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    """Yields the folder of the unfinished training with this identity, else a new one, and whether it goes on.

    A folder that a living process uses is left to it. When the block ends without an error, the training is finished.

    Args:
        root: The folder of all trainings.
        model: How the names of the model's folders begin.
        new: The name of a new folder.
        identity: What decides the training and its comparison, by name.
    """
    with contextlib.ExitStack() as stack:
        folder = next((old for old in _unfinished(root, model, identity) if _locked(stack, old)), None)
        goes_on = folder is not None
        if folder is None:
            folder = root / new
            _locked(stack, folder)
            files.replace(folder / NOTE, json.dumps(dict(identity)))
        yield folder, goes_on
        (folder / NOTE).unlink(missing_ok=True)


def _unfinished(root: Path, model: str, identity: Mapping[str, str]) -> list[Path]:
    notes = sorted(root.glob(f"{model}-*/{NOTE}"), key=lambda note: note.stat().st_mtime, reverse=True)
    return [note.parent for note in notes if _read(note) == identity]


def _read(note: Path) -> object:
    """A note's content; None of a damaged one, whose training nothing goes on with."""
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _locked(stack: contextlib.ExitStack, folder: Path) -> Literal[True, False]:
    """Whether this process uses the folder from now on."""
    try:
        stack.enter_context(locks.held(folder / LOCK, purpose="a training", wait_seconds=0))
    except locks.LockTimeout:
        return False
    return True


def code_digest(program: Program) -> str:
    """SHA-256 of the source files that train: the package of the program, and the one of the fabric."""
    digest = hashlib.sha256()
    for name in sorted({program.place.partition(":")[0].rpartition(".")[0], "ray_jobs.core"}):
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()
