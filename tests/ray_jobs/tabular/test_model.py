"""A loaded model predicts the same as the saved one; changed files are not loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import ModelError
from ray_jobs.core.dataset import DatasetVersion, Rows, training_rows
from ray_jobs.core.model_folder import CONFIG_FILE, WEIGHTS_FILE
from ray_jobs.tabular.binary import Binary
from ray_jobs.tabular.calibration import Calibration
from ray_jobs.tabular.encoding import Encoder
from ray_jobs.tabular.model import Shape, TabularModel, WideAndDeep
from ray_jobs.tabular.recipe import Recipe


@pytest.fixture(scope="module")
def rows(table: DatasetVersion, recipe: Recipe) -> Rows:
    return training_rows(table, recipe, "holdout")


def _model(rows: Rows, recipe: Recipe, seed: int) -> TabularModel:
    torch.manual_seed(seed)
    encoder = Encoder.fit(rows.columns, recipe)
    shape = Shape.of(encoder, Binary(), recipe)
    return TabularModel(
        encoder=encoder, shape=shape, network=WideAndDeep(shape), objective=Binary(Calibration(0.9, -0.1)), label="late"
    )


@pytest.fixture(scope="module")
def model(rows: Rows, recipe: Recipe) -> TabularModel:
    return _model(rows, recipe, 1)


@pytest.fixture
def folder(model: TabularModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_model_predicts_bit_by_bit_the_same(model: TabularModel, rows: Rows, folder: Path) -> None:
    again = TabularModel.load(folder)
    assert np.array_equal(again.predict(rows.columns), model.predict(rows.columns))
    assert again.inputs == model.inputs
    assert again.label == "late"


def test_saving_a_loaded_model_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    TabularModel.load(folder).save(tmp_path / "again")
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_row_gets_the_same_probability_alone_and_at_any_place_among_others(model: TabularModel, rows: Rows) -> None:
    together = model.predict(rows.columns)
    for place in (0, 17, len(rows) - 1):
        row = {name: column[place] for name, column in rows.columns.items()}
        for count in (1, 2, 3, 7, 8, 15, 33, 1000):
            repeated = model.predict({name: [value] * count for name, value in row.items()})
            assert set(repeated) == {together[place]}


def test_more_rows_than_are_computed_at_once_all_get_probabilities(
    model: TabularModel, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = model.predict(rows.columns)
    monkeypatch.setattr("ray_jobs.tabular.model.ROWS_AT_ONCE", 1000)
    assert np.array_equal(model.predict(rows.columns), together)


def test_no_rows_get_no_probabilities(model: TabularModel, rows: Rows) -> None:
    assert model.predict({name: [] for name in rows.columns}).shape == (0,)


def test_a_saved_model_is_two_files(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


def test_saving_into_a_folder_with_files_raises_an_error(model: TabularModel, folder: Path) -> None:
    with pytest.raises(ModelError, match="already"):
        model.save(folder)


def test_a_pickle_instead_of_the_weights_is_not_loaded(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    (folder / "model.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
    with pytest.raises(ModelError, match=r"model\.pkl"):
        TabularModel.load(folder)


def test_a_pickle_under_the_name_of_the_weights_is_not_loaded(folder: Path) -> None:
    torch.save({"weights": torch.ones(1)}, folder / WEIGHTS_FILE)
    with pytest.raises(ModelError):
        TabularModel.load(folder)


def test_a_folder_with_a_further_file_is_not_loaded(folder: Path) -> None:
    (folder / "extra.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"extra\.json"):
        TabularModel.load(folder)


def test_a_link_to_the_weights_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / WEIGHTS_FILE, tmp_path / "elsewhere")
    (folder / WEIGHTS_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError):
        TabularModel.load(folder)


@pytest.mark.parametrize("part", ["objective", "encoder", "label"])
def test_a_changed_configuration_is_not_loaded(folder: Path, part: str) -> None:
    document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    changed = {
        "objective": {"task": "binary", "calibration": {"scale": 0.9, "shift": 0.1}},
        "encoder": {**document["config"]["encoder"], "vocabularies": {}},
        "label": "early",
    }
    document["config"][part] = changed[part]
    (folder / CONFIG_FILE).write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.json: checksum"):
        TabularModel.load(folder)


def test_changed_weights_are_not_loaded(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"model\.safetensors: checksum"):
        TabularModel.load(folder)


def test_another_models_weights_are_not_loaded(folder: Path, rows: Rows, recipe: Recipe, tmp_path: Path) -> None:
    _model(rows, recipe, 2).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    with pytest.raises(ModelError, match="checksum"):
        TabularModel.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": {}}'])
def test_a_text_that_is_not_a_configuration_is_not_loaded(folder: Path, text: str) -> None:
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError):
        TabularModel.load(folder)


def test_an_empty_folder_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing"):
        TabularModel.load(tmp_path)
