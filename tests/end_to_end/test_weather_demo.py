"""The demo of the weather: its model beats persistence, and its predictions lead back to lines of the landed files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deltalake import DeltaTable

from pipelines.machine import ports
from tests.end_to_end.conftest import Demo, goldpath

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("weather")
    goldpath(home, "demo", "weather", GOLDPATH_SERVING_PORT=str(ports.free_port()))
    return Demo(home, json.loads((home / "demo" / "report.json").read_text(encoding="utf-8")))


def outcomes(weather: Demo) -> list[dict]:
    return DeltaTable(str(weather.home / "lakehouse/gold/weather/prediction_outcomes")).to_pyarrow_table().to_pylist()


def test_the_model_beats_ridge_regression_and_persistence_on_october(weather: Demo) -> None:
    [version] = weather.report["model"]["versions"]
    standings = version["standings"]
    assert standings["challenger"]["mae"] < standings["baseline"]["mae"] < standings["persistence"]["mae"]
    assert weather.report["model"]["gate"]["passed"]


def test_every_prediction_was_made_before_its_outcome_and_most_lie_in_their_interval(weather: Demo) -> None:
    """The source has no observations of 2013-11-03T00Z, so the predictions of that hour keep no outcome."""
    rows = outcomes(weather)
    assert len(rows) == 3 * 3 * 7
    assert {row["hour_id"][4:] for row in rows if row["valid_at"] is None} == {"2013-11-03T00Z"}
    assert all(row["interval_low"] < row["value"] < row["interval_high"] for row in rows)
    observed = [row for row in rows if row["observed_temp"] is not None]
    assert all(row["as_of"] < row["valid_at"] < row["outcome_known_at"] for row in observed)
    assert sum(row["in_interval"] for row in observed) / len(observed) > 0.7
    assert sum(abs(row["error"]) for row in observed) / len(observed) < 3.5


def test_a_prediction_leads_back_to_the_file_and_line_of_its_observations(weather: Demo) -> None:
    prediction = outcomes(weather)[0]
    text = weather.goldpath("lineage", "prediction", prediction["prediction_id"], "--json")
    assert prediction["hour_id"] in text
    day = prediction["as_of"].strftime("%Y%m%d")
    assert f"observations_{day}.jsonl" in text


def test_only_tables_of_the_weather_were_written_and_each_asset_has_its_cost(weather: Demo) -> None:
    domains = {path.parent.name for path in Path(weather.home, "lakehouse").glob("[a-z]*/*/*") if path.is_dir()}
    assert domains == {"weather", "platform"}
    assert {entry["tags"]["cost_centre"] for entry in weather.report["assets"] if entry.get("tags")} == {"cc-1300"}
