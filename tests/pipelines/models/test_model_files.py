"""One digest identifies all files of a model; a file that could run code is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models import model_files


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "encoder").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"\x00" * 64)
    (folder / "model.json").write_text("{}", encoding="utf-8")
    (folder / "encoder" / "encoder.json").write_text('{"inputs": []}', encoding="utf-8")
    return folder


def copy(model: Path, target: Path) -> Path:
    for path in sorted(model.rglob("*.*"), reverse=True):
        (target / path.relative_to(model)).parent.mkdir(parents=True, exist_ok=True)
        (target / path.relative_to(model)).write_bytes(path.read_bytes())
    return target


def test_every_file_has_a_checksum(model: Path) -> None:
    assert set(model_files.checksums(model)) == {"model.safetensors", "model.json", "encoder/encoder.json"}


def test_a_copy_has_the_same_digest(model: Path, tmp_path: Path) -> None:
    digest = model_files.digest(model)
    model_files.verify(copy(model, tmp_path / "elsewhere"), digest)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda m: (m / "model.safetensors").write_bytes(b"\x00" * 63 + b"\x01"),
        lambda m: (m / "model.json").unlink(),
        lambda m: (m / "more.json").write_text("{}", encoding="utf-8"),
        lambda m: (m / "model.json").rename(m / "model2.json"),
        lambda m: (m / "encoder" / "encoder.json").rename(m / "encoder.json"),
    ],
    ids=["changed", "removed", "added", "renamed", "moved"],
)
def test_any_change_of_the_files_fails_the_verification(model: Path, tamper: object) -> None:
    digest = model_files.digest(model)
    assert callable(tamper)
    tamper(model)
    with pytest.raises(ModelError, match=f"{digest[:16]}…, as it was registered"):
        model_files.verify(model, digest)


def test_a_pickle_raises_an_error_with_its_name(model: Path) -> None:
    (model / "weights.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match=r"weights\.pkl: suffix '\.pkl'.*never loaded"):
        model_files.checksums(model)


def test_a_hidden_file_raises_an_error(model: Path) -> None:
    (model / ".model.json").write_text("{}", encoding="utf-8")
    (model / "encoder" / ".hidden").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"\.hidden"):
        model_files.digest(model)


@pytest.mark.parametrize("target", ["model.json", "nowhere.json"])
def test_a_link_raises_an_error(model: Path, target: str) -> None:
    (model / "link.json").symlink_to(model / target)
    with pytest.raises(ModelError, match=r"link\.json: a link"):
        model_files.digest(model)


def test_a_linked_folder_raises_an_error(model: Path, tmp_path: Path) -> None:
    other = copy(model, tmp_path / "other")
    (model / "more").symlink_to(other, target_is_directory=True)
    with pytest.raises(ModelError, match="more: a link"):
        model_files.digest(model)


def test_an_empty_folder_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no files"):
        model_files.digest(tmp_path)
