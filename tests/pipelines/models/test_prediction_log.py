"""The reader of the prediction log."""

from __future__ import annotations

from pathlib import Path

from pipelines.models import prediction_log
from pipelines.settings import Settings


def test_predictions_are_read_oldest_day_first(tmp_path: Path) -> None:
    folder = prediction_log.folder(Settings(home=tmp_path), "shop.returns")
    folder.mkdir(parents=True)
    (folder / "2013-11-02.jsonl").write_text('{"prediction_id": "3"}\n', encoding="utf-8")
    (folder / "2013-11-01.jsonl").write_text('{"prediction_id": "1"}\n{"prediction_id": "2"}\n', encoding="utf-8")
    assert [record["prediction_id"] for record in prediction_log.read(folder)] == ["1", "2", "3"]


def test_a_torn_line_is_left_out_and_the_lines_after_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "2013-11-01.jsonl").write_text(
        '{"prediction_id": "1"}\n{"prediction_id": "2", "b\n{"prediction_id": "3"}\n{"prediction_id": "4"}',
        encoding="utf-8",
    )
    assert [record["prediction_id"] for record in prediction_log.read(tmp_path)] == ["1", "3"]


def test_a_home_without_predictions_has_an_empty_log(tmp_path: Path) -> None:
    assert list(prediction_log.read(prediction_log.folder(Settings(home=tmp_path), "shop.returns"))) == []


def test_lines_of_another_shape_are_left_out_and_named(tmp_path: Path) -> None:
    log = tmp_path / "2013-11-01.jsonl"
    log.write_bytes(b'{}\n{"prediction_id": "1"}\n\xff\xfe\n[]\n\n{"prediction_id": 2}\n{"prediction_id": "3"}\n')
    assert [record["prediction_id"] for record in prediction_log.read(tmp_path)] == ["1", "3"]
    assert prediction_log.damaged(tmp_path) == {log: [1, 3, 4, 6]}
