"""The folder of a saved model: `model.safetensors` and `model.json` and nothing else.

Each file holds the other's checksum, so a file that was changed, or that belongs to another model, is refused. Reading
a model runs no code from its files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipelines.errors import ModelError
from ray_jobs.core.checkpoint_folder import file_digest

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "model.json"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a folder holds: weights by name, and the rest as JSON holds it."""

    weights: Mapping[str, Tensor]
    config: Mapping[str, Any]


def write(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Writes a model into a folder, which is created; raises ModelError if it holds a file.

    Args:
        folder: Where.
        weights: By name, no two of them in the same memory.
        config: All that is no weight, as JSON holds it; `format` names its form.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise _refused(folder, "it already holds files", "an empty folder", "choose another folder")
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(whole, folder / WEIGHTS_FILE, metadata={"config_sha256": _config_digest(config)})
    document = {"weights_sha256": file_digest(folder / WEIGHTS_FILE), "config": config}
    (folder / CONFIG_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")


@contextlib.contextmanager
def reading(folder: Path, form: str) -> Iterator[Saved]:
    """Yields what `write` wrote; an error of a value in the block counts as damage.

    Raises:
        ModelError: if the folder holds anything but the two files, if one of them was changed, or if the model is of
            another form.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    expected = [CONFIG_FILE, WEIGHTS_FILE]
    if names != expected or any((folder / name).is_symlink() for name in expected):
        raise _refused(
            folder, f"holds {', '.join(names) or 'nothing'}", f"the files {' and '.join(expected)}, and no other",
            "download the model from the registry again; a pickle is never loaded",
        )  # fmt: skip
    try:
        document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        config = document["config"]
        with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _require_unchanged(folder, document, metadata)
        if config["format"] != form:
            raise _refused(folder, f"format {config['format']!r}", form, "use the release that wrote it")
        yield Saved(weights, config)
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _refused(
            folder, f"{type(error).__name__}: {error}", f"a model in format {form}", "train or download it again"
        ) from None


def _require_unchanged(folder: Path, document: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    checksums = {
        WEIGHTS_FILE: (file_digest(folder / WEIGHTS_FILE), document["weights_sha256"]),
        CONFIG_FILE: (_config_digest(document["config"]), metadata.get("config_sha256", "none")),
    }
    for name, (observed, expected) in checksums.items():
        if observed != expected:
            raise _refused(
                folder / name, f"checksum {observed[:16]}…", f"checksum {expected[:16]}…, which the other file holds",
                "do not use these files: download the model from the registry again",
            )  # fmt: skip


def _config_digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _refused(path: Path, observed: str, expected: str, next_step: str) -> ModelError:
    return ModelError(object=f"model in {path}", observed=observed, expected=expected, next_step=next_step)
