"""Corrections are read from JSON, JSON lines and CSV files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import SettingsError
from pipelines.quarantine import corrections


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", '[{"_record_id": "a1", "holes": 8, "weight": null}]'),
        ("c.jsonl", '{"_record_id": "a1", "holes": 8, "weight": null}\n'),
    ],
)
def test_json_values_are_read_as_text_and_null_as_no_value(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert corrections.read(path) == {"a1": {"holes": "8", "weight": None}}


def test_an_empty_csv_cell_corrects_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('_record_id,holes,weight\na1,8,\na2,,"1,5"\n', encoding="utf-8")
    assert corrections.read(path) == {"a1": {"holes": "8"}, "a2": {"weight": "1,5"}}


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("c.json", "{", "JSONDecodeError"),
        ("c.json", '[{"holes": "8"}]', "_record_id"),
        ("c.csv", "_record_id,holes\na1,8\na1,9\n", "a1 more than once"),
        ("c.csv", "_record_id,holes\n", "no record"),
        ("c.xlsx", "", "xlsx"),
    ],
)
def test_a_file_that_is_not_a_list_of_corrections_is_refused(
    tmp_path: Path, name: str, content: str, match: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=match):
        corrections.read(path)
