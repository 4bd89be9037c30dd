"""A domain with a time zone that does not exist, or with partitions that are no days, does not load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.contracts.domain import CostTags, Domain
from pipelines.errors import DefinitionError

COST = CostTags("cc-1", "toys", "toys", "toys")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"timezone": "../etc/passwd"}, "no time zone"),
        ({"timezone": ""}, "no time zone ''"),
        ({"partitions": dg.HourlyPartitionsDefinition("2026-01-01-00:00")}, "its partitions are named as %Y-%m-%d-%H"),
        ({"partitions": dg.DailyPartitionsDefinition("20260101", fmt="%Y%m%d")}, "its partitions are named as %Y%m%d"),
    ],
)
def test_a_domain_that_contradicts_its_landed_files_or_its_clock_does_not_load(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError, match=words):
        Domain.at(str(tmp_path / "domain.py"), owner="toy-data", cost=COST, **options)


@pytest.mark.parametrize("days", [None, dg.DailyPartitionsDefinition("2026-01-01", timezone="Europe/London")])
def test_a_domain_with_days_or_without_loads(days: Any, tmp_path: Path) -> None:
    domain = Domain.at(str(tmp_path / "domain.py"), owner="toy-data", cost=COST, partitions=days, timezone="Asia/Tokyo")
    assert (domain.name, domain.partitions) == (tmp_path.name, days)
