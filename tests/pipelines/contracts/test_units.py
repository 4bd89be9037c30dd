"""Units that count from an instant, as the CF conventions write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.contracts.units import instant


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("minutes since 1970-01-01T00:00:00Z", 23055000.5, datetime(2013, 11, 1, 10, 0, 30, tzinfo=UTC)),
        ("seconds since 1970-01-01T00:00:00Z", -1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("days since 2000-01-01T00:00:00+01:00", 1, datetime(2000, 1, 1, 23, tzinfo=UTC)),
        ("hours since 2000-01-01T00:00:00Z", 25, datetime(2000, 1, 2, 1, tzinfo=UTC)),
        ("min", 5, None),
        (None, 5, None),
        ("minutes since 1970-01-01T00:00:00Z", None, None),
        ("minutes since 1970-01-01T00:00:00Z", float("nan"), None),
        ("minutes since 1970-01-01T00:00:00Z", "5", None),
        ("minutes since 1970-01-01T00:00:00Z", 1e30, None),
        ("minutes since the opening", 5, None),
        ("minutes since 2013-13-01", 5, None),
    ],
)
def test_a_number_that_counts_from_an_instant_is_an_instant(unit: str, value: object, expected: datetime) -> None:
    assert instant(unit, value) == expected
