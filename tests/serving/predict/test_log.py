"""What was answered is in the prediction log, whatever happened to its writer."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipelines.models.prediction_log import read
from serving.errors import PredictionNotRecorded
from serving.predict.log import PredictionLog

DAY = date(2013, 11, 1)


def test_records_are_written_to_the_file_of_their_day(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.append(date(2013, 11, 2), ['{"prediction_id": "3"}'])
    log.append(DAY, ['{"prediction_id": "1"}', '{"prediction_id": "2"}'])
    assert [record["prediction_id"] for record in read(tmp_path)] == ["1", "2", "3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2013-11-01.jsonl", "2013-11-02.jsonl"]


def test_only_the_owner_may_read_the_log(tmp_path: Path) -> None:
    PredictionLog(tmp_path).append(DAY, ['{"prediction_id": "1"}'])
    assert (tmp_path / "2013-11-01.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_record_after_a_torn_line_is_read(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.append(DAY, ['{"prediction_id": "1"}'])
    with (tmp_path / "2013-11-01.jsonl").open("ab") as file:
        file.write(b'{"prediction_id": "2", "b')
    assert [record["prediction_id"] for record in read(tmp_path)] == ["1"]
    PredictionLog(tmp_path).append(DAY, ['{"prediction_id": "3"}'])
    assert [record["prediction_id"] for record in read(tmp_path)] == ["1", "3"]


def test_a_log_that_was_moved_away_is_created_again(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "predictions")
    log.append(DAY, ['{"prediction_id": "1"}'])
    (tmp_path / "predictions").rename(tmp_path / "kept")
    log.append(DAY, ['{"prediction_id": "2"}'])
    assert [record["prediction_id"] for record in read(tmp_path / "predictions")] == ["2"]


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "2013-11-01.jsonl").mkdir()
    with pytest.raises(PredictionNotRecorded, match=r"2013-11-01\.jsonl"):
        PredictionLog(tmp_path).append(DAY, ['{"prediction_id": "1"}'])
