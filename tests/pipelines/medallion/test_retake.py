"""Files that were taken under other options of the contract are read again, and their rows replaced everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.lakehouse.base import Lakehouse
from pipelines.landing.edge import Edge
from pipelines.medallion.bronze import INGEST
from pipelines.medallion.decorators import bronze_asset, silver_asset
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text
from tests.pipelines.toy_pipeline import (
    COLUMNS,
    DAY,
    DAYS,
    NEXT,
    MakePipeline,
    ToyPipeline,
    arrivals_check,
    as_arrived,
)

FIRST = "part,holes,weight\nbrück,4,1\nplate,2,1\n".encode("latin-1")
LATER = b"part,holes,weight\nplate,3,1\n"


class Mended:
    """A source whose first file was taken in a wrong encoding, and whose contract now has the right one."""

    def __init__(self, toy: ToyPipeline, *, by_day: bool = False, **more: Any) -> None:
        self.toy = toy
        self.partitions = DAYS if by_day else None
        self.last_day = DAY
        self.silver = silver_asset(toy.contract, partitions=self.partitions)(as_arrived)
        self.deliver("first.csv", FIRST, DAY)
        self.bronze = toy.bronze
        self.run()
        if more.get("delivery") != "snapshot":
            self.deliver("later.csv", LATER, NEXT)
            self.run()
        columns = [text(column["name"]) for column in COLUMNS]
        contract = toy_contracts.contract(toy.folder, str(toy.table("bronze")), columns, encoding="latin-1", **more)
        toy.platform.contracts[contract.table] = contract
        self.contract = contract
        self.bronze = bronze_asset(contract, partitions=self.partitions)

    def deliver(self, name: str, content: bytes, day: str) -> None:
        self.last_day = max(self.last_day, day)
        self.toy.platform.landing.deliver(domain="toys", source=self.toy.name, interval=day, name=name, content=content)

    def run(self) -> dg.AssetCheckEvaluation:
        """Materializes bronze and silver, of all days with a delivery; returns the check of the deliveries."""
        days = {"start": DAY, "end": self.last_day} if self.partitions else {}
        result = self.toy.run(self.bronze, self.silver, **days)
        assert result.success
        return arrivals_check(result)

    def state(self) -> dict[str, list[Any]]:
        """Rows of each zone; bronze's with the batch whose marks they have."""
        rows = self.toy.rows
        return {
            "bronze": sorted((row["part"] or "", row["holes"], row["_ingest_id"]) for row in rows("bronze")),
            "silver": sorted((row["part"], row["holes"]) for row in rows("silver")),
            "quarantine": [row["_source_row"] for row in rows("quarantine")],
        }

    @property
    def ledger(self) -> Any:
        return self.toy.platform.ledger(self.toy.table("bronze"))


RIGHT = {
    "bronze": [("brück", "4", "00000000"), ("plate", "2", "00000000"), ("plate", "3", "00000001")],
    "silver": [("brück", 4), ("plate", 3)],
    "quarantine": [],
}
BY_DAY = RIGHT | {"silver": [("brück", 4), ("plate", 2), ("plate", 3)]}
SNAPSHOT = {"bronze": RIGHT["bronze"][:2], "silver": [("brück", 4), ("plate", 2)], "quarantine": []}


@pytest.mark.parametrize(
    ("kind", "right"),
    [({}, RIGHT), ({"by_day": True}, BY_DAY), ({"delivery": "snapshot"}, SNAPSHOT)],
    ids=["increments", "days", "snapshot"],
)
def test_after_the_encoding_was_corrected_a_retake_replaces_the_rows_and_keeps_the_order_of_arrival(
    make_pipeline_each_engine: MakePipeline, kind: dict[str, Any], right: dict[str, list[Any]]
) -> None:
    more = {name: value for name, value in kind.items() if name != "by_day"}
    toy = make_pipeline_each_engine(partitions=DAYS if kind.get("by_day") else None, **more)
    mended = Mended(toy, **kind)
    assert mended.state()["quarantine"] == [2]
    offered = mended.run()
    assert not offered.passed
    assert f"goldpath landing retake toys/{toy.name}" in str(offered.description)
    assert mended.ledger.ask_retake()
    assert mended.run().passed
    assert mended.state() == right
    versions = [toy.version(zone) for zone in ("bronze", "silver", "quarantine")]
    assert mended.run().passed
    assert [toy.version(zone) for zone in ("bronze", "silver", "quarantine")] == versions


def test_a_retake_that_was_killed_before_its_commit_is_done_by_the_next_run(make_pipeline: MakePipeline) -> None:
    mended = Mended(make_pipeline())
    platform = mended.toy.platform
    mended.ledger.ask_retake()
    for _ in range(2):
        planned = Edge(platform.landing, mended.ledger, mended.contract).next_batch(None, committed=1)
        assert planned is not None
        assert (planned.number, planned.retake, len(planned.deliveries)) == (2, True, 2)
    assert mended.toy.run(mended.silver).success
    mended.run()
    assert mended.state() == RIGHT
    assert platform.lakehouse.batch(mended.toy.table("bronze"), INGEST) == 2


def test_a_run_that_was_killed_after_the_commit_of_a_retake_leaves_silver_to_the_next(
    make_pipeline: MakePipeline,
) -> None:
    mended = Mended(make_pipeline())
    mended.ledger.ask_retake()
    assert mended.toy.run(mended.bronze).success
    mended.deliver("new.csv", b"part,holes,weight\ntile,1,1\n", NEXT)
    mended.run()
    assert mended.state() == RIGHT | {
        "bronze": [*RIGHT["bronze"], ("tile", "1", "00000003")],
        "silver": [*RIGHT["silver"], ("tile", 1)],
    }


@pytest.mark.parametrize("change", ["gone", "changed", "unreadable"])
def test_a_file_that_cannot_be_read_again_keeps_its_rows_and_the_others_are_retaken(
    make_pipeline: MakePipeline, change: str
) -> None:
    mended = Mended(make_pipeline())
    [folder] = Path(mended.toy.platform.landing.root).rglob(f"dt={NEXT}")
    if change == "gone":
        (folder / "later.csv").unlink()
    elif change == "changed":
        (folder / "later.csv").write_bytes(b"part,holes,weight\nother,9,9\n")
    else:
        columns = [text("part"), text("holes"), text("weight")]
        frozen = toy_contracts.contract(
            mended.toy.folder, str(mended.toy.table("bronze")), columns, encoding="utf-16", format="parquet"
        )
        mended.bronze = bronze_asset(frozen)
    mended.ledger.ask_retake()
    check = mended.run()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    state = mended.state()
    assert ("plate", "3", "00000001") in state["bronze"]
    assert (("brück", "4", "00000000") in state["bronze"]) == (change != "unreadable")
    assert len(state["bronze"]) == 3
    assert mended.ledger.asked_retakes() == []


def test_rows_that_bronze_lost_come_back_with_a_retake_of_their_interval(make_pipeline: MakePipeline) -> None:
    mended = Mended(make_pipeline())
    house: Lakehouse = mended.toy.platform.lakehouse
    mended.ledger.ask_retake()
    mended.run()
    delta = house.snapshot(mended.toy.table("bronze")).delta
    delta.delete(f"_partition = '{DAY}' AND part = 'plate'")
    assert [d.interval for d in mended.ledger.ask_retake(intervals=[DAY])] == [DAY]
    mended.run()
    assert mended.state() == RIGHT
