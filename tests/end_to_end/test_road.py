"""The whole road on the real flights: what the report says is what lies in the tables."""

from __future__ import annotations

import hashlib
import json

import pytest
from deltalake import DeltaTable

from tests.end_to_end.conftest import Road

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_800)]


def asset(road: Road, key: str) -> dict:
    return next(found for found in road.report["assets"] if found["key"] == key)


def table(road: Road, key: str) -> DeltaTable:
    return DeltaTable(str(road.home / "lakehouse" / key))


def test_every_stage_ran_and_says_how_long(road: Road) -> None:
    assert [stage["name"] for stage in road.report["stages"]] == ["land", "whole", "refresh", "replay", "outcomes"]
    assert all(stage["seconds"] > 0 for stage in road.report["stages"])


def test_no_flight_vanished_between_the_source_and_the_tables(road: Road) -> None:
    landed = sum(
        len(path.read_bytes().splitlines()) - 1 for path in (road.home / "landing/flights/flights").rglob("*.csv")
    )
    assert table(road, "bronze/flights/flights").count() == landed
    kept, rejected = table(road, "silver/flights/flights").count(), table(road, "quarantine/flights/flights").count()
    assert kept + rejected == landed
    assert table(road, "gold/flights/departures").count() == kept


def test_every_judged_asset_accounts_for_its_rows(road: Road) -> None:
    judged = [a for a in road.report["assets"] if a["key"].startswith(("silver/", "gold/"))]
    assert len(judged) >= 13
    for found in judged:
        assert found["rows_clean"] + found["rows_quarantined"] == found["rows_in"], found["key"]


def test_the_impossible_wind_is_in_quarantine_with_its_reason(road: Road) -> None:
    rows = table(road, "quarantine/flights/weather").to_pyarrow_table().to_pylist()
    reasons = [reason for row in rows for reason in row["_reasons"]]
    assert [(reason["column"], reason["value"][:7]) for reason in reasons] == [("wind_speed", "1048.36")]


def test_every_asset_run_has_a_cost_with_all_tags(road: Road) -> None:
    for found in road.report["assets"]:
        if not found["key"].startswith("quarantine/"):
            assert found["cost"] > 0, found["key"]
            assert {"cost_centre", "workload_class"} <= found["tags"].keys(), found["key"]
    total = sum(group["cost"] for group in road.report["cost_by_workload_class"])
    assert total == pytest.approx(road.report["cost_total"])


def test_the_model_beats_the_baseline_on_october_and_is_not_too_good_to_be_true(road: Road) -> None:
    first = road.report["model"]["versions"][0]
    assert first["window"].startswith("[2013-10-01")
    model, baseline = first["standings"]["challenger"], first["standings"]["baseline"]
    assert 0.70 < baseline["auc"] < model["auc"] < 0.76
    assert model["log_loss"] < baseline["log_loss"]
    assert road.report["model"]["gate"]["passed"]


def test_the_week_was_predicted_before_its_outcomes_were_known(road: Road) -> None:
    replay = road.report["replay"]
    assert replay["asked"] == len(set(_logged(road))) > 500
    assert replay["outcomes_known"] == replay["asked"]
    assert replay["auc"] > 0.6
    rows = table(road, "gold/flights/prediction_outcomes").to_pyarrow_table().to_pylist()
    assert len(rows) == replay["asked"]
    assert all(row["as_of"] < row["outcome_known_at"] for row in rows)


def _logged(road: Road) -> list[str]:
    lines = [p.read_text("utf-8").splitlines() for p in sorted((road.home / "serving/predictions").glob("*.jsonl"))]
    return [json.loads(line)["prediction_id"] for file in lines for line in file]


def test_the_chain_ends_at_a_real_row_of_a_real_file(road: Road) -> None:
    chain = json.loads(road.goldpath("lineage", "prediction", road.report["prediction"]["id"], "--json"))
    records = [feature["record"] for feature in chain["features"] if feature["record"]]
    assert len(records) >= 5
    for record in records:
        path = road.home / "landing" / record["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record["sha256"]
        assert path.read_text("utf-8").splitlines()[record["row"] - 1] == record["line"]
    assert chain["model"]["digest"] == chain["prediction"]["model"]["digest"]
    assert chain["training_data"]["gold/flights/training_set"] >= 0


def test_nothing_that_was_used_was_known_later_than_the_question(road: Road) -> None:
    prediction = road.report["prediction"]
    asked = road.goldpath("lineage", "prediction", prediction["id"], "--json")
    as_of = json.loads(asked)["prediction"]["as_of"]
    assert all(feature["timestamp"] <= as_of for feature in prediction["features"].values() if feature["timestamp"])


def test_cost_report_answers_from_the_same_records(road: Road) -> None:
    rows = json.loads(road.goldpath("cost", "report", "--by", "workload_class", "--json"))
    assert {row["workload_class"] for row in rows} == {"ingestion", "features", "training", "serving"}


def test_unknown_prediction_is_a_clear_error(road: Road) -> None:
    with pytest.raises(AssertionError, match="exit 1"):
        road.goldpath("lineage", "prediction", "no-such-id")


def test_the_sensor_run_moved_the_tables_on(road: Road) -> None:
    days = {partition["_partition"] for partition in table(road, "silver/flights/flights").partitions()}
    assert {"2013-01-01", "2013-10-31", "2013-11-07"} <= days
    assert asset(road, "silver/flights/flights")["rows_in"] == table(road, "bronze/flights/flights").count()


def test_the_sensor_run_fine_tuned_the_champion_on_newer_flights(road: Road) -> None:
    tuned = road.report["model"]["versions"][-1]
    assert (tuned["version"], tuned["trained"]) == (2, "fine-tuned")
    assert tuned["standings"].keys() == {"challenger", "baseline", "champion"}
    assert road.report["model"]["version"] == (2 if tuned["passed"] else 1)
