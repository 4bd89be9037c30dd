"""The demo on the real flights: its report, its tables, its files and its commands agree."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest
from deltalake import DeltaTable

from tests.end_to_end.conftest import Demo

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_800)]


def asset(demo: Demo, key: str) -> dict:
    return next(entry for entry in demo.report["assets"] if entry["key"] == key)


def table(demo: Demo, key: str) -> DeltaTable:
    return DeltaTable(str(demo.home / "lakehouse" / key))


def test_every_stage_ran_and_has_its_duration(demo: Demo) -> None:
    stages = ["land", "whole", "refresh", "replay", "rollout", "outcomes"]
    assert [stage["name"] for stage in demo.report["stages"]] == stages
    assert all(stage["seconds"] > 0 and stage["what"] for stage in demo.report["stages"])


def test_every_landed_flight_is_in_bronze_and_in_silver_or_quarantine(demo: Demo) -> None:
    landed = sum(
        len(path.read_bytes().splitlines()) - 1 for path in (demo.home / "landing/flights/flights").rglob("*.csv")
    )
    assert table(demo, "bronze/flights/flights").count() == landed
    clean, rejected = table(demo, "silver/flights/flights").count(), table(demo, "quarantine/flights/flights").count()
    assert clean + rejected == landed
    assert table(demo, "gold/flights/departures").count() == clean


def test_the_report_counts_the_rows_of_tables_whichever_run_wrote_them(demo: Demo) -> None:
    """The second run of the demo takes nothing from the sources without days, whose tables keep their rows."""
    counted = {entry["key"]: entry["rows"] for entry in demo.report["assets"] if entry["rows"] is not None}
    assert counted == {key: table(demo, key).count() for key in counted}
    assert (counted["bronze/flights/airlines"], counted["silver/flights/airlines"]) == (16, 16)
    for name in ("flights/flights", "weather/observations"):
        entry = asset(demo, f"silver/{name}")
        assert entry["quarantined"] == table(demo, f"quarantine/{name}").count()
        assert entry["rows"] + entry["quarantined"] == counted[f"bronze/{name}"]
    assert asset(demo, "serving/flights/arrival_delay")["rows"] is None


def test_the_impossible_wind_speed_is_in_quarantine_with_its_reason(demo: Demo) -> None:
    rows = table(demo, "quarantine/weather/observations").to_pyarrow_table().to_pylist()
    reasons = [reason for row in rows for reason in row["_reasons"]]
    assert [(reason["column"], reason["value"][:7]) for reason in reasons] == [("wind_speed", "1048.36")]


def test_every_asset_has_a_cost_and_cost_tags(demo: Demo) -> None:
    for entry in demo.report["assets"]:
        room, *_, name = entry["key"].split("/")
        if room != "quarantine" and (room != "features" or name == "online"):  # else another asset's run writes it
            assert entry["cost"] > 0, entry["key"]
            assert {"cost_centre", "workload_class"} <= entry["tags"].keys(), entry["key"]
    total = sum(group["cost"] for group in demo.report["cost_by_workload_class"])
    assert total == pytest.approx(demo.report["cost_total"])


def test_the_model_beats_the_baseline_on_october_with_a_plausible_auc(demo: Demo) -> None:
    first = demo.report["model"]["versions"][0]
    assert first["window"].startswith("[2013-10-01")
    model, baseline = first["standings"]["challenger"], first["standings"]["baseline"]
    assert 0.70 < baseline["auc"] < model["auc"] < 0.76
    assert model["log_loss"] < baseline["log_loss"]
    assert demo.report["model"]["gate"]["passed"]


def test_the_replayed_week_was_predicted_before_its_outcomes_were_known(demo: Demo) -> None:
    replay = demo.report["replay"]
    assert len(set(_logged_predictions(demo))) > replay["asked"] > 500  # the rollouts asked too
    assert replay["outcomes_known"] == replay["asked"] >= replay["compared"] > 500
    assert replay["metrics"]["auc"] > 0.6
    rows = table(demo, "gold/flights/prediction_outcomes").to_pyarrow_table().to_pylist()
    assert len(rows) == len(set(_logged_predictions(demo)))
    assert all(row["as_of"] < row["outcome_known_at"] for row in rows)


def test_the_fine_tuned_version_took_over_by_evidence_and_the_spoiled_one_went_back(demo: Demo) -> None:
    tuned, spoiled = demo.report["rollouts"]
    assert (tuned["status"], spoiled["status"]) == ("promoted", "returned"), (tuned["because"], spoiled["because"])
    ended = [step["stage"] for step in tuned["steps"] if step["what"] == "stage"]
    assert [tuned["plan"]["stages"][stage]["name"] for stage in ended] == ["shadow", "canary 20%", "canary 50%", "all"]
    assert all(step["figures"] and step["evidence"] for step in tuned["steps"] if step["what"] == "stage")
    back = next(step for step in spoiled["steps"] if step["what"] == "back")
    assert any(figure["broken"] for figure in back["figures"])
    assert spoiled["answers"][f"version {spoiled['version']}"] > 0
    assert (tuned["failed_requests"], spoiled["failed_requests"]) == (0, 0)
    assert demo.report["model"]["version"] == tuned["version"]
    shown = json.loads(demo.goldpath("model", "show", "flights.arrival_delay", "--json"))
    assert "rollout" in json.dumps(shown)
    page = (demo.home / "demo" / "report.html").read_text("utf-8")
    assert "Rollouts" in page
    assert spoiled["because"].split(":")[0] in page


def _logged_predictions(demo: Demo) -> list[str]:
    """The ids of all predictions in the service's log."""
    files = sorted((demo.home / "serving/predictions").glob("*/*.jsonl"))
    return [json.loads(line)["prediction_id"] for file in files for line in file.read_text("utf-8").splitlines()]


def test_the_lineage_of_a_prediction_names_existing_rows_of_landed_files(demo: Demo) -> None:
    chain = json.loads(demo.goldpath("lineage", "prediction", demo.report["prediction"]["id"], "--json"))
    records = [feature["record"] for feature in chain["features"] if feature["record"]]
    assert len(records) >= 5
    for record in records:
        path = demo.home / "landing" / record["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record["sha256"]
        assert path.read_text("utf-8").splitlines()[record["row"] - 1] == record["line"]
    assert chain["model"]["digest"] == chain["prediction"]["model"]["digest"]
    assert chain["training_data"]["gold/flights/training_set"] >= 0


def test_a_prediction_used_no_feature_that_was_known_later_than_its_request(demo: Demo) -> None:
    prediction = demo.report["prediction"]
    lineage = json.loads(demo.goldpath("lineage", "prediction", prediction["id"], "--json"))
    as_of = lineage["prediction"]["as_of"]
    assert all(feature["timestamp"] <= as_of for feature in prediction["features"].values() if feature["timestamp"])


def test_a_number_of_minutes_since_an_instant_is_reported_as_an_instant(demo: Demo) -> None:
    feature = next(f for f in demo.report["prediction"]["lineage"]["features"] if f["view"] == "aircraft_history")
    minutes, shown = feature["values"]["ready_at_minute"], feature["instants"]["ready_at_minute"]
    assert shown == f"{datetime.fromtimestamp(minutes * 60, tz=UTC):%F %T} UTC"
    assert shown in (demo.home / "demo" / "report.html").read_text("utf-8")
    assert shown in " ".join(demo.goldpath("lineage", "prediction", demo.report["prediction"]["id"]).split())


@pytest.mark.parametrize("domain", ["flights", "weather"])
def test_the_online_store_answers_what_the_as_of_join_gives(demo: Demo, domain: str) -> None:
    parity = json.loads(demo.goldpath("features", "parity", domain, "--json"))
    assert [view["differences"] for view in parity["views"]] == [[]] * len(parity["views"])
    assert sum(view["values"] for view in parity["views"]) >= (2_000 if domain == "flights" else 40)


def test_the_commands_for_features_agree_with_each_other(demo: Demo) -> None:
    read = json.loads(demo.goldpath("features", "get", "weather.temperature_v1", "station=JFK", "--json"))
    online = {feature["feature"].partition("__")[2]: feature["value"] for feature in read["features"]}
    known_from = {datetime.fromisoformat(feature["known_from"]) for feature in read["features"]}
    rows = json.loads(
        demo.goldpath("features", "history", "weather.station_conditions", "station=JFK", "--limit", "500", "--json")
    )["rows"]
    [row] = [row for row in rows if datetime.fromisoformat(row["event_timestamp"]) in known_from]
    assert online == {name: value for name, value in row.items() if name != "event_timestamp"}
    nobody = demo.goldpath("features", "history", "weather.station_conditions", "station=nowhere")
    assert "gold/weather/station_conditions has no row of station=nowhere" in nobody


def test_what_hangs_on_a_column_is_named_in_every_domain(demo: Demo) -> None:
    found = json.loads(demo.goldpath("features", "impact", "silver/weather/observations.temp", "--json"))
    assert found["models"] == ["flights.arrival_delay", "weather.temperature"]
    assert {"flights.origin_weather:temp", "weather.station_conditions:temp_change_3h"} <= set(found["features"])
    assert "flights.origin_weather:visib" not in found["features"]
    assert found["owners"] == ["flight-data", "weather-data"]


def test_the_cost_report_has_the_workload_classes_of_the_demo(demo: Demo) -> None:
    rows = json.loads(demo.goldpath("cost", "report", "--by", "workload_class", "--json"))
    assert {row["workload_class"] for row in rows} == {"ingestion", "features", "training", "serving"}


def test_the_lineage_of_an_unknown_prediction_fails(demo: Demo) -> None:
    with pytest.raises(AssertionError, match="exit 1"):
        demo.goldpath("lineage", "prediction", "no-such-id")


def test_the_run_that_the_sensor_requested_added_the_new_days(demo: Demo) -> None:
    days = {partition["_partition"] for partition in table(demo, "silver/flights/flights").partitions()}
    assert {"2013-01-01", "2013-10-31", "2013-11-07"} <= days


def test_the_run_that_the_sensor_requested_fine_tuned_the_champion(demo: Demo) -> None:
    tuned = demo.report["model"]["versions"][-1]
    assert (tuned["version"], tuned["trained"]) == (2, "fine-tuned")
    assert tuned["standings"].keys() == {"challenger", "baseline", "champion"}
    assert demo.report["model"]["version"] == (2 if tuned["passed"] else 1)
