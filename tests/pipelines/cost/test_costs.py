"""What a run uses is measured, priced, and written as rows in the FOCUS format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from pipelines.cost import focus, metering, prices, report
from pipelines.cost.metering import Usage
from pipelines.cost.prices import GIB, PriceSheet
from pipelines.errors import SettingsError
from pipelines.governed.platform import PRICES
from tests.pipelines.focus import MANDATORY
from tests.pipelines.toy_contracts import TAGS

SHEET = PriceSheet(
    "EUR", "2025-01-31",
    {"cpu_core_hour": 0.05, "memory_gib_hour": 0.01, "bytes_read_gib": 0.002, "bytes_written_gib": 0.004},
    {"h200": 8.0, "default": 2.0},
)  # fmt: skip
STARTED = datetime(2013, 12, 31, 23, 59, tzinfo=UTC)

DECIMALS = {"BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity"}
INSTANTS = {"BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"}


def usage(**changes: Any) -> Usage:
    """Two hours with three core hours, a peak of 4 GiB, 10 GiB read and 5 GiB written."""
    values: dict[str, Any] = {"seconds": 7_200.0, "cpu_seconds": 10_800.0, "peak_memory_bytes": 4 * GIB}
    values |= {"bytes_read": 10 * GIB, "bytes_written": 5 * GIB, "ended_at": STARTED + timedelta(hours=2)}
    return Usage(started_at=STARTED, **(values | changes))


def rows(used: Usage, *, asset: str = "gold/toys/blocks", run: str = "run-1", **tags: str) -> pa.Table:
    """The FOCUS rows of a run."""
    return focus.focus_rows(
        asset=asset, run_id=run, status="SUCCEEDED", usage=used, sheet=SHEET, tags=TAGS | tags, service="goldpath gold"
    )


def test_a_run_is_charged_for_cores_memory_and_bytes() -> None:
    charges = {charge.resource: (charge.quantity, charge.unit, charge.cost) for charge in prices.price(usage(), SHEET)}
    assert charges == {
        "CPU": (3.0, "Core-Hours", pytest.approx(0.15)),
        "Memory": (8.0, "GiB-Hours", pytest.approx(0.08)),
        "Bytes read": (10.0, "GiB", pytest.approx(0.02)),
        "Bytes written": (5.0, "GiB", pytest.approx(0.02)),
    }


@pytest.mark.parametrize(("accelerator", "rate"), [("h200", 8.0), ("unknown", 2.0), (None, 2.0)])
def test_an_accelerator_has_its_own_rate_or_the_default_one(accelerator: str | None, rate: float) -> None:
    charges = prices.price(usage(gpu_seconds=1_800.0, accelerator=accelerator), SHEET)
    [gpu] = [charge for charge in charges if charge.resource == "GPU"]
    assert (gpu.quantity, gpu.unit, gpu.cost) == (0.5, "GPU-Hours", rate / 2)


def test_rows_hold_every_mandatory_focus_column_in_its_type() -> None:
    table = rows(usage())
    assert set(MANDATORY) <= set(table.column_names)
    assert all(name[0].isupper() or name.startswith("x_") for name in table.column_names)
    for name, nullable in MANDATORY.items():
        kind = table.schema.field(name).type
        if name in INSTANTS:
            assert kind == pa.timestamp("us", tz="UTC")
        else:
            assert kind == (pa.float64() if name in DECIMALS else pa.string()), name
        assert nullable or table[name].null_count == 0, name


def test_costs_are_quantity_times_unit_price_and_the_charge_period_is_the_run() -> None:
    for row in rows(usage(gpu_seconds=60.0)).to_pylist():
        assert row["ListUnitPrice"] * row["PricingQuantity"] == pytest.approx(row["ListCost"])
        assert row["ContractedUnitPrice"] * row["PricingQuantity"] == pytest.approx(row["ContractedCost"])
        assert row["BilledCost"] == row["EffectiveCost"] == row["ContractedCost"] == row["ListCost"]
        assert (row["ChargeCategory"], row["ChargeClass"], row["ChargeFrequency"]) == ("Usage", None, "Usage-Based")
        assert row["SkuId"] == row["SkuPriceId"]
        assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == (STARTED, STARTED + timedelta(hours=2))


def test_the_billing_period_is_the_month_in_which_the_run_started() -> None:
    [period] = {(row["BillingPeriodStart"], row["BillingPeriodEnd"]) for row in rows(usage()).to_pylist()}
    assert period == (datetime(2013, 12, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC))


def test_rows_hold_run_asset_tags_and_the_date_of_the_price_sheet() -> None:
    [row] = {
        (r["x_run_id"], r["x_status"], r["ResourceId"], r["ResourceName"], r["x_price_sheet"])
        for r in rows(usage()).to_pylist()
    }
    assert row == ("run-1", "SUCCEEDED", "gold/toys/blocks", "blocks", "2025-01-31")
    assert json.loads(rows(usage())["Tags"][0].as_py()) == TAGS
    assert set(rows(usage())["BillingAccountId"].to_pylist()) == {"cc-7"}


@pytest.mark.parametrize(
    ("workload", "category"), [("ingestion", "Analytics"), ("training", "AI and Machine Learning"), ("serving", "AI and Machine Learning")]
)  # fmt: skip
def test_the_service_category_follows_the_workload(workload: str, category: str) -> None:
    assert set(rows(usage(), workload_class=workload)["ServiceCategory"].to_pylist()) == {category}


def test_a_report_sums_by_tag_or_column_with_the_largest_sum_first() -> None:
    table = pa.concat_tables(
        [
            rows(usage(), run="1", workload_class="ingestion"),
            rows(usage(), run="2", workload_class="ingestion"),
            rows(usage(cpu_seconds=36_000.0), asset="training/toys/model", run="2", workload_class="training"),
        ]
    )
    by_tag = report.report(table, by="workload_class")
    assert [(group["workload_class"], group["runs"], group["currency"]) for group in by_tag] == [
        ("training", 1, "EUR"), ("ingestion", 2, "EUR"),
    ]  # fmt: skip
    assert [group["cost"] for group in by_tag] == [pytest.approx(0.62), pytest.approx(0.54)]
    by_run = report.report(table, by="x_run_id")
    assert {group["x_run_id"]: group["runs"] for group in by_run} == {"1": 1, "2": 2}
    by_resource = {group["SkuId"]: group["cost"] for group in report.report(table, by="SkuId")}
    assert by_resource["CPU"] == pytest.approx(0.15 + 0.15 + 0.5)
    assert sum(by_resource.values()) == pytest.approx(sum(table["BilledCost"].to_pylist()))


def test_a_report_by_an_unknown_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="'colour'.*cost_centre.*FOCUS column"):
        report.report(rows(usage()), by="colour")


def test_a_report_by_a_tag_that_some_rows_lack_has_a_group_of_the_others() -> None:
    table = pa.concat_tables([rows(usage()), rows(usage(), run="2", team="north")])
    assert {group["team"]: group["runs"] for group in report.report(table, by="team")} == {
        report.UNTAGGED: 1,
        "north": 1,
    }


def test_what_cannot_be_metered_is_unknown_and_not_zero() -> None:
    cluster = rows(usage(unmetered={"the machines of the Spark cluster"}))
    descriptions = set(cluster["ChargeDescription"].to_pylist())
    assert (
        "CPU of a run of gold/toys/blocks; unknown and not included: the machines of the Spark cluster" in descriptions
    )
    both = pa.concat_tables([cluster, rows(usage(), run="run-2")])
    assert report.unmetered(both) == {"the machines of the Spark cluster": 1}


def test_a_report_without_rows_is_empty() -> None:
    assert report.report(rows(usage()).slice(0, 0), by="workload_class") == []


def test_the_price_sheet_of_the_repository_has_every_price() -> None:
    sheet = PriceSheet.load(PRICES)
    assert len(sheet.currency) == 3
    assert all(value > 0 for value in (*sheet.unit_prices.values(), *sheet.gpu_hour.values()))
    assert "default" in sheet.gpu_hour


@pytest.mark.parametrize(
    ("change", "observed"),
    [
        (lambda text: text.replace("cpu_core_hour", "cpu_hour"), "cpu_core_hour"),
        (lambda text: text.replace("0.0316", "cheap"), "cheap"),
        (lambda text: text.replace("0.0316", "-1"), "cpu_core_hour is -1"),
        (lambda text: text.replace("0.0316", ".nan"), "cpu_core_hour is nan"),
        (lambda text: text[: text.index("gpu_hour")], "gpu_hour"),
        (lambda text: "currency: [", "ParserError"),
    ],
    ids=["missing", "not a number", "negative", "NaN", "no accelerators", "not YAML"],
)
def test_a_price_sheet_that_lacks_a_price_is_refused(tmp_path: Path, change: Any, observed: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(change(PRICES.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SettingsError, match=f"(?s){path}.*{observed}.*GOLDPATH_PRICES"):
        PriceSheet.load(path)


#: A program that uses this much processor time.
BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def test_the_processor_time_of_a_child_process_is_counted() -> None:
    with metering.metering() as used:
        subprocess.run([sys.executable, "-c", BURN.format(seconds=1.5)], check=True)
    assert used.cpu_seconds > 0.5  # the time after the last sample is missing


def test_the_processor_time_of_a_watched_process_is_counted_from_when_it_is_added() -> None:
    burner = subprocess.Popen([sys.executable, "-c", BURN.format(seconds=600)], start_new_session=True)
    try:
        while cpu_seconds(burner.pid) < 1.0:
            time.sleep(0.05)
        with metering.metering() as used:
            used.watched.add(burner.pid)
            when_added = cpu_seconds(burner.pid)
            while cpu_seconds(burner.pid) < when_added + 1.0:
                time.sleep(0.05)
        total = cpu_seconds(burner.pid)
    finally:
        burner.kill()
        burner.wait()
    assert 0.3 < used.cpu_seconds < total - 0.5


def test_processor_time_before_the_block_is_not_counted() -> None:
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    with metering.metering() as used:
        started = time.process_time()
        while time.process_time() < started + 0.3:
            pass
    assert 0.25 < used.cpu_seconds < time.process_time()
    assert used.peak_memory_bytes > 10 * 2**20


def test_the_usage_of_a_block_that_raises_is_complete() -> None:
    with pytest.raises(ZeroDivisionError), metering.metering() as used:  # noqa: PT012
        os.urandom(1 << 20)
        1 / 0  # noqa: B018
    assert used.ended_at is not None
    assert used.ended_at >= used.started_at
    assert used.seconds > 0
