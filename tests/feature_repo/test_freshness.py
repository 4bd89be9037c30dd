"""Freshness: what each filling made readable, and how long that took from landing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.assets import online_asset
from feature_repo.freshness_log import KEPT, SAMPLES, Measurement, log, record, summary
from feature_repo.state import DomainStore
from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.engine.session import Engine
from pipelines.features.declaration import FeatureService, feature_view
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, gold_asset, silver_asset
from pipelines.settings import Settings
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import number, text
from tests.pipelines.toy_pipeline import as_arrived, land

NOW = "2026-11-01T10:00:00Z"
KEY: dict[str, Any] = {"primaryKey": True, "required": True}
INSTANT = {"name": "event_timestamp", "logicalType": "timestamp", "description": "when it was known"}
COLUMNS = [
    text("part", primaryKeyPosition=1, **KEY), INSTANT | {"primaryKeyPosition": 2} | KEY, number("weight"),
]  # fmt: skip


@pytest.fixture
def platform(engine: Engine, tmp_path: Path) -> Platform:
    settings = Settings(home=tmp_path / "home", profile="test", engine=engine.kind)
    texts = [text(str(column["name"])) for column in COLUMNS]
    made = [toy_contracts.contract(tmp_path, "bronze/toys/parts", texts)]
    made += [toy_contracts.contract(tmp_path, f"{zone}/toys/parts", COLUMNS) for zone in ("silver", "gold")]
    platform = Platform(settings, lambda: {contract.table: contract for contract in made})
    platform.engine = engine
    return platform


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    bronze, silver, gold = platform.contracts.values()
    domain = Domain("toys", "toys", CostTags("cc", "unit", "project", "app"), Contracts({gold.table: gold}))
    service = FeatureService("parts_v1", "toys", (feature_view(gold),), "The last weight.", "toys")
    return [
        bronze_asset(bronze),
        silver_asset(silver)(as_arrived),
        gold_asset(gold, inputs={"parts": "silver/toys/parts"})(known),
        online_asset(domain, [service]),
    ]


def known(parts: Any) -> Any:
    """Parts as they are known. Grain: one row per part and instant."""
    return parts.select("part", "event_timestamp", "weight", "_record_id")


def test_each_filling_measures_the_deliveries_that_it_made_readable(
    platform: Platform, materialize: Materialize
) -> None:
    declared, landed = assets(platform), platform.settings.root / "landing/toys/parts/dt=2026-11-01"

    def fill(*deliveries: tuple[str, str, int]) -> dict[str, Any]:
        """Lands files, each of a name and content and written so many seconds ago, and materializes all assets."""
        for name, content, seconds_ago in deliveries:
            header = "part,event_timestamp,weight\n"
            land(platform, "parts", header + content, day="2026-11-01", name=name)
            written_at = time.time() - seconds_ago
            os.utime(landed / name, (written_at, written_at))
        result = materialize(platform, declared, None, None)
        [event] = [
            e
            for e in result.get_asset_materialization_events()
            if e.asset_key == dg.AssetKey(["features", "toys", "online"])
        ]
        return {key: value.value for key, value in event.materialization.metadata.items()}

    def counts() -> list[int]:
        return [measured.count for measured in log(DomainStore(platform.settings, "toys"))]

    first = fill(("a.csv", f"p1,{NOW},1.5\n", 9_000))
    assert (counts(), "freshness" in first) == ([0], False)
    second = fill(("b.csv", f"p2,{NOW},2.5\n", 1_000), ("c.csv", f"p3,{NOW},3.5\np4,{NOW},4.5\n", 5_000))
    [row] = second["freshness"].records
    assert counts() == [0, 2]
    assert 1_000 <= second["freshness_p50_seconds"] < 2_000
    assert 5_000 <= second["freshness_p99_seconds"] < 6_000
    assert (row.data["view"], row.data["deliveries"]) == ("parts", 2)
    assert second["freshness_plot"].startswith("![plot](data:image/svg+xml;base64,")
    assert "freshness" not in fill()
    third = fill(("d.csv", "no part,then,x\n", 3_000))
    assert counts() == [0, 2, 0, 1]
    assert 3_000 <= third["freshness_p99_seconds"] < 4_000


@given(st.lists(st.integers(0, 10**6).map(lambda ms: ms / 1_000), min_size=1, max_size=SAMPLES))
def test_a_summary_of_few_seconds_has_exact_ranks(seconds: list[float]) -> None:
    found = summary([Measurement.of("v", "pushed", seconds[:3]), Measurement.of("v", "pushed", seconds[3:])])
    ranked = sorted(seconds)
    assert found.p50 is not None
    assert found.p99 is not None
    below = {share: sum(second <= value for second in ranked) for share, value in ((0.5, found.p50), (0.99, found.p99))}
    assert (found.count, found.worst) == (len(seconds), ranked[-1])
    assert all(count >= share * len(ranked) for share, count in below.items())
    assert ranked[(len(ranked) - 1) // 2] == found.p50


def test_a_summary_weighs_a_filling_by_its_deliveries() -> None:
    many, few = Measurement.of("v", "filled", [1.0] * 9_990 + [2.0] * 10), Measurement.of("v", "filled", [50.0])
    found = summary([many, few])
    assert (found.count, found.p50, found.worst) == (10_001, 1.0, 50.0)
    assert found.p99 is not None
    assert found.p99 < 50.0
    assert many.seconds[-1] == 2.0


def test_the_log_keeps_the_newest_of_each_view_and_way(tmp_path: Path) -> None:
    place = DomainStore(Settings(home=tmp_path, profile="test"), "toys")
    record(place, [Measurement.of("slow", "filled", [60.0], {"bronze/toys/parts": 3})])
    record(place, [Measurement.of("quick", "pushed", [float(n)]) for n in range(KEPT + 5)])
    quick = [measured.seconds for measured in log(place) if measured.view == "quick"]
    assert quick == [[float(n)] for n in range(5, KEPT + 5)]
    [slow] = [measured for measured in log(place) if measured.view == "slow"]
    assert (slow.way, slow.count, slow.batches) == ("filled", 1, {"bronze/toys/parts": 3})
