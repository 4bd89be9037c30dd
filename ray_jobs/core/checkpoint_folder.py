"""One checkpoint of a run: a folder of safetensors files and `checkpoint.json`, which holds their checksums.

`checkpoint.json` is written last: a folder without it is an interrupted write, and counts for nothing. Reading runs no
code from the files.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from pipelines.machine import files
from ray_jobs.core.errors import TrainingError

MANIFEST = "checkpoint.json"
FORMAT = "goldpath.checkpoint.v1"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run is: `epoch` counts from 1, `step` says how many of its steps are done, `steps` those of the run."""

    epoch: int
    step: int
    steps: int

    def seed(self, base: int, rank: int) -> int:
        """Seeds a worker's random numbers of the next step.

        They follow from the position instead of the former step, so that a resumed run draws the same ones.
        """
        digest = hashlib.blake2b(f"{base}/{self.steps}/{rank}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        folder: Where it is.
        position: Where the run goes on.
        loss: The validation loss of its weights; None where it was not measured.
        notes: What the loop wanted to keep, as JSON holds it.
        files: The SHA-256 of each file, by name.
        values: The optimizer's settings and the schedule's state.
    """

    folder: Path
    position: Position
    loss: float | None
    notes: Mapping[str, Any]
    files: Mapping[str, str]
    values: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Reads what the folder's `checkpoint.json` says; raises TrainingError if it was changed."""
        path = folder / MANIFEST
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            content = document["content"]
            if document["sha256"] != _digest(content) or content.pop("format") != FORMAT:
                raise ValueError("its checksum, or its format, is another one")
            return cls(folder, Position(**content.pop("position")), **content)
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}", f"a file in format {FORMAT}") from None

    def write(self) -> None:
        """Makes the folder a checkpoint: its files are on the disk."""
        content = {"format": FORMAT, **asdict(self)}
        del content["folder"]
        document = {"sha256": _digest(content), "content": content}
        files.replace(self.folder / MANIFEST, json.dumps(document, indent=1), survives="power")

    def verify(self, *, rank: int = 0, of: int = 1) -> None:
        """Compares every `of`-th file from file `rank` on with its checksum.

        Raises:
            TrainingError: if a file is absent or was changed, or if there is one that the checkpoint does not name.
        """
        present = {path.name for path in self.folder.iterdir()} - {MANIFEST}
        if present != set(self.files):
            names = ", ".join(sorted(present ^ set(self.files)))
            raise _damaged(self.folder, f"files that are absent or too many: {names}", f"{len(self.files)} files")
        for name in sorted(self.files)[rank::of]:
            observed = file_digest(self.folder / name)
            if observed != self.files[name]:
                expected = f"{self.files[name][:16]}…, which {MANIFEST} holds"
                raise _damaged(self.folder / name, f"checksum {observed[:16]}…", expected)

    def load_weights(self, network: nn.Module) -> None:
        """Gives a network that is not wrapped the checkpoint's weights; raises TrainingError as `verify` does."""
        self.verify()
        state = weights(network)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
            dcp.load(state, storage_reader=dcp.HuggingFaceStorageReader(str(self.folder)), no_dist=True)


def complete(run_folder: Path) -> list[Checkpoint]:
    """A run's complete checkpoints, the oldest first; raises TrainingError for a damaged one."""
    return [Checkpoint.read(path.parent) for path in sorted(run_folder.glob(f"step-*/{MANIFEST}"))]


def weights(network: nn.Module) -> dict[str, Any]:
    """The trained parameters and the buffers by their names in the network without wrappers; they share its memory."""
    return {**get_model_state_dict(network, options=StateDictOptions(ignore_frozen_params=True))}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _damaged(path: Path, observed: str, expected: str) -> TrainingError:
    folder = path if path.is_dir() else path.parent
    return TrainingError(
        object=f"training checkpoint {path}",
        observed=observed,
        expected=expected,
        next_step=f"remove the folder {folder}: the run goes on from the checkpoint before, or from the start",
    )
