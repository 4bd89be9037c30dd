"""The ledger: two writers plan one batch once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import CommitConflict
from pipelines.landing.delivery import Delivery
from pipelines.landing.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger._connection.close()


def test_the_second_of_two_writers_that_plan_a_batch_gets_a_conflict(ledger: Ledger) -> None:
    """Otherwise its files would count as taken with a batch that the first writer commits without them."""
    other = Ledger(ledger.path)
    first_delivery, second_delivery = (
        Delivery(f"{n}.csv", "2013-01-01", 1, 1, f"sha {n}", f"prefix {n}") for n in range(2)
    )
    assert (ledger.pending(committed=-1), other.pending(committed=-1)) == (None, None)
    planned = ledger.plan([first_delivery], committed=-1, judged_by="contract")
    with pytest.raises(CommitConflict, match="batch 0 of 1 files was planned by another writer"):
        other.plan([second_delivery], committed=-1, judged_by="contract")
    assert other.pending(committed=-1) == planned
    assert other.plan([second_delivery], committed=0, judged_by="contract").number == 1
    other._connection.close()
