"""The edge: complete files pass, each content once, and a planned batch is taken exactly once."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.landing.delivery import MANIFEST, Manifest
from pipelines.landing.edge import Edge
from pipelines.landing.ledger import Batch, Ledger
from pipelines.landing.zone import Landing
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text

DAY, NEXT = "2013-01-01", "2013-01-02"


class Source:
    """One source with its contract, its landing folder and its ledger."""

    def __init__(self, folder: Path, *, by_day: bool = False, **more: Any) -> None:
        self.by_day = by_day
        self.contract = toy_contracts.contract(folder, "bronze/toys/blocks", [text("a")], **more)
        self.landing = Landing(folder / "landing")
        self.path = folder / "ledger.db"
        self.seen: list[tuple[str, str, str]] = []

    def land(self, name: str, content: bytes = b"a\n1\n", day: str = DAY, **more: Any) -> Path:
        uri = self.landing.deliver(domain="toys", source="blocks", interval=day, name=name, content=content, **more)
        return Path(self.landing.root) / uri

    def run(
        self, committed: int = -1, days: Collection[str] | None = None, contract: Contract | None = None
    ) -> Batch | None:
        """One run's next batch, with a newly opened ledger."""
        edge = Edge(self.landing, Ledger(self.path), contract or self.contract, by_day=self.by_day)
        batch = edge.next_batch(days, committed=committed)
        self.seen = [(Path(finding.subject).name, finding.code, finding.treatment) for finding in edge.findings]
        return batch

    def refuse(self, batch: Batch, name: str, code: str) -> None:
        edge = Edge(self.landing, Ledger(self.path), self.contract)
        [delivery] = [d for d in batch.deliveries if Path(d.uri).name == name]
        error = LandingError(
            object=name, observed="it is damaged", expected="a complete file", next_step="repair it", code=code
        )
        edge.leave_out(delivery, error)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def taken(batch: Batch | None) -> list[str]:
    return [Path(delivery.uri).name for delivery in batch.deliveries] if batch else []


def test_a_batch_names_its_files_and_their_checksums(source: Source) -> None:
    source.land("a.csv")
    batch = source.run()
    assert batch is not None
    assert (batch.number, batch.ingest_id, taken(batch)) == (0, "00000000", ["a.csv"])
    assert batch.deliveries[0].sha256 == source.landing.checksum(batch.deliveries[0])
    assert Ledger(source.path).batches() == [batch]


def test_a_committed_batch_is_not_planned_again(source: Source) -> None:
    source.land("a.csv")
    source.run()
    assert source.run(committed=0) is None
    source.land("b.csv", b"new")
    second = source.run(committed=0)
    assert (second and second.number, taken(second)) == (1, ["b.csv"])


def test_after_a_crash_the_planned_batch_is_taken_as_it_was_planned(source: Source) -> None:
    source.land("a.csv")
    planned = source.run()
    source.land("b.csv", b"arrived after the crash")
    assert source.run() == planned
    assert taken(source.run(committed=0)) == ["b.csv"]


def test_an_empty_ledger_file_gets_its_tables(source: Source) -> None:
    source.path.touch()
    source.land("a.csv")
    assert taken(source.run()) == ["a.csv"]


def test_the_same_bytes_under_another_name_are_a_duplicate(source: Source) -> None:
    source.land("a.csv")
    source.land("a_again.csv")
    source.land("b.csv", b"other")
    assert taken(source.run()) == ["a.csv", "b.csv"]
    assert source.seen == [("a_again.csv", "duplicate", "skipped")]
    source.land("a_later.csv", day=NEXT)
    assert source.run(committed=0) is None
    assert source.seen == [("a_later.csv", "repeated", "skipped")]
    assert source.run(committed=0) is None
    assert source.seen == []


def test_a_snapshot_with_the_bytes_of_an_earlier_one_is_taken(tmp_path: Path) -> None:
    source = Source(tmp_path, delivery="snapshot")
    days = ["2013-01-01", "2013-01-02", "2013-01-03"]
    for number, (day, content) in enumerate(zip(days, (b"a\n1\n", b"a\n2\n", b"a\n1\n"), strict=True)):
        source.land("all.csv", content, day)
        batch = source.run(committed=number - 1)
        assert batch is not None
        assert [delivery.interval for delivery in batch.deliveries] == [day]
    prefixes = {delivery.prefix for batch in Ledger(source.path).batches() for delivery in batch.deliveries}
    assert len(prefixes) == 3


def test_numbered_extractions_with_equal_bytes_are_both_taken(source: Source) -> None:
    for sequence in (1, 2):
        source.land("log.csv", manifest=Manifest.of(b"a\n1\n", sequence=sequence))
    batch = source.run()
    assert taken(batch) == ["00000001-log.csv", "00000002-log.csv"]
    assert batch
    assert len({delivery.prefix for delivery in batch.deliveries}) == 2


def test_a_file_that_changed_after_it_was_taken_is_refused_and_the_others_are_taken(source: Source) -> None:
    path = source.land("a.csv", b"first")
    source.run()
    path.write_bytes(b"changed")
    source.land("b.csv", b"b")
    assert taken(source.run(committed=0)) == ["b.csv"]
    assert source.seen == [("a.csv", "changed", "refused")]
    [record] = Ledger(source.path).records(fate="refused")
    assert "its content changed after it was taken" in str(record.observed)


def test_in_a_table_by_day_the_same_bytes_are_taken_once_for_each_day(tmp_path: Path) -> None:
    source = Source(tmp_path, by_day=True)
    source.land("a.csv")
    source.land("a_again.csv")
    source.land("a.csv", day=NEXT)
    batch = source.run()
    assert batch is not None
    assert [(delivery.interval, Path(delivery.uri).name) for delivery in batch.deliveries] == [
        (DAY, "a.csv"),
        (NEXT, "a.csv"),
    ]
    assert len({delivery.prefix for delivery in batch.deliveries}) == 2
    assert source.seen == [("a_again.csv", "duplicate", "skipped")]


def test_a_file_that_was_touched_again_and_again_stays_in_its_batch(source: Source) -> None:
    path = source.land("a.csv")
    batch = source.run()
    for seconds in (1, 2, 3):
        os.utime(path, (seconds, seconds))
        assert source.run(committed=0) is None
        assert source.seen == []
        assert Ledger(source.path).batches() == [batch]
    path.with_name("renamed.csv").write_bytes(path.read_bytes())
    path.write_bytes(b"changed")
    assert source.run(committed=0) is None
    assert source.seen == [("a.csv", "changed", "refused"), ("renamed.csv", "duplicate", "skipped")]


def test_a_manifest_that_came_later_and_is_wrong_does_not_remove_a_taken_file_from_its_batch(source: Source) -> None:
    path = source.land("a.csv")
    source.run()
    path.with_name(path.name + MANIFEST).write_bytes(Manifest.of(b"x").text())
    os.utime(path, (1, 1))
    assert source.run(committed=0) is None
    assert [record.fate for record in Ledger(source.path).records()] == ["batch"]


def test_a_duplicate_of_a_file_that_was_refused_is_judged_itself(source: Source) -> None:
    source.land("a.csv")
    source.land("a_again.csv")
    batch = source.run()
    assert batch is not None
    source.refuse(batch, "a.csv", "truncated")
    assert taken(source.run()) == ["a_again.csv"]


def test_only_the_given_days_are_planned(source: Source) -> None:
    source.land("a.csv")
    source.land("b.csv", b"other", day=NEXT)
    assert taken(source.run(days=[NEXT])) == ["b.csv"]
    assert taken(source.run(committed=0)) == ["a.csv"]


def test_a_file_waits_until_it_has_all_the_bytes_of_its_manifest(source: Source) -> None:
    content = b"a\n" + b"1\n" * 100
    path = source.land("a.csv", content, manifest=Manifest.of(content, rows=100))
    path.write_bytes(content[:50])
    source.land("b.csv", b"b")
    assert taken(source.run()) == ["b.csv"]
    assert source.seen == [("a.csv", "incomplete", "waiting")]
    path.write_bytes(content)
    assert taken(source.run(committed=0)) == ["a.csv"]


def test_a_file_with_another_checksum_than_its_manifest_is_refused(source: Source) -> None:
    path = source.land("a.csv", b"a\n1\n", manifest=Manifest.of(b"a\n1\n"))
    path.write_bytes(b"a\n2\n")
    assert source.run() is None
    assert source.seen == [("a.csv", "checksum", "refused")]


@pytest.mark.parametrize(
    "text", ['{"bytes": 4, "sha', '{"bytes": "4", "sha256": "x"}', '{"bytes": null, "sha256": "x"}']
)
def test_a_file_waits_while_its_manifest_cannot_be_read_and_others_are_taken(source: Source, text: str) -> None:
    path = source.land("a.csv")
    source.land("b.csv", b"b")
    manifest = path.with_name(path.name + MANIFEST)
    manifest.write_text(text, encoding="utf-8")
    assert taken(source.run()) == ["b.csv"]
    assert source.seen == [("a.csv", "manifest", "waiting")]
    manifest.unlink()
    assert taken(source.run(committed=0)) == ["a.csv"]


def test_where_the_contract_requires_manifests_a_file_without_one_waits(tmp_path: Path) -> None:
    source = Source(tmp_path, manifest="required")
    source.land("a.csv", b"first")
    source.land("b.csv", manifest=Manifest.of(b"a\n1\n"))
    assert taken(source.run()) == ["b.csv"]
    assert source.seen == [("a.csv", "no_manifest", "waiting")]


def test_a_file_waits_until_it_has_settled(tmp_path: Path) -> None:
    source = Source(tmp_path, settleSeconds=3600)
    path = source.land("a.csv")
    assert source.run() is None
    assert source.seen == [("a.csv", "settling", "waiting")]
    os.utime(path, (0, time.time() - 4000))
    assert taken(source.run()) == ["a.csv"]


def test_a_file_from_the_future_is_reported_and_taken(source: Source) -> None:
    path = source.land("a.csv")
    os.utime(path, (0, time.time() + 7200))
    assert taken(source.run()) == ["a.csv"]
    assert source.seen == [("a.csv", "clock_skew", "taken")]


@pytest.mark.parametrize("seconds_ahead", [5, 7200])
def test_a_file_from_the_future_settles_by_what_runs_have_seen(tmp_path: Path, seconds_ahead: int) -> None:
    source = Source(tmp_path, settleSeconds=3600)
    path = source.land("a.csv")
    os.utime(path, (0, time.time() + seconds_ahead))
    for _ in range(2):
        assert source.run() is None
        assert source.seen == [("a.csv", "settling", "waiting")]
    with sqlite3.connect(source.path) as ledger:
        ledger.execute("UPDATE settling SET since = ?", [(datetime.now(UTC) - timedelta(hours=1)).isoformat()])
    assert taken(source.run()) == ["a.csv"]


@pytest.mark.parametrize(("delivery", "treatment"), [("snapshot", "waiting"), ("increment", "taken")])
def test_a_snapshot_of_the_future_waits_and_increments_are_reported(
    tmp_path: Path, delivery: str, treatment: str
) -> None:
    source = Source(tmp_path, delivery=delivery)
    source.land("a.csv", day="2999-01-01")
    source.land("b.csv", b"b", day=(datetime.now(UTC) + timedelta(hours=20)).date().isoformat())
    assert taken(source.run()) == (["b.csv"] if delivery == "snapshot" else ["b.csv", "a.csv"])
    assert source.seen == [("a.csv", "future", treatment)]


def test_a_refused_file_is_judged_again_once_it_or_the_contract_changes(source: Source, tmp_path: Path) -> None:
    path = source.land("a.csv")
    source.land("b.csv", b"b")
    batch = source.run()
    assert batch is not None
    source.refuse(batch, "a.csv", "truncated")
    assert taken(source.run()) == ["b.csv"]
    assert source.run(committed=0) is None
    wider = toy_contracts.contract(tmp_path, "bronze/toys/blocks", [text("a"), text("b")])
    again = source.run(committed=0, contract=wider)
    assert (taken(again), again and again.number) == (["a.csv"], 1)
    assert again is not None
    source.refuse(again, "a.csv", "truncated")
    path.write_bytes(b"a\n3\n")
    assert taken(source.run(committed=0)) == ["a.csv"]


def test_a_forgotten_refusal_is_judged_again(source: Source) -> None:
    source.land("a.csv")
    batch = source.run()
    assert batch is not None
    source.refuse(batch, "a.csv", "truncated")
    assert source.run() is None
    assert Ledger(source.path).forget_refused() == 1
    assert taken(source.run()) == ["a.csv"]


def test_a_file_that_changed_while_it_was_read_is_taken_later(source: Source) -> None:
    source.land("a.csv")
    batch = source.run()
    assert batch is not None
    source.refuse(batch, "a.csv", "growing")
    assert Ledger(source.path).records() == []
    assert taken(source.run()) == ["a.csv"]


def test_a_file_that_has_gone_is_not_taken(source: Source) -> None:
    path = source.land("a.csv")
    edge = Edge(source.landing, Ledger(source.path), source.contract)
    edge.report_misplaced(None, None)
    path.unlink()
    assert edge.next_batch(None, committed=-1) is None


def test_a_file_that_lands_after_a_run_has_listed_its_day_is_taken_by_the_next_run(source: Source) -> None:
    source.land("a.csv")
    edge = Edge(source.landing, Ledger(source.path), source.contract)
    assert taken(edge.next_batch(None, committed=-1)) == ["a.csv"]
    source.land("b.csv", b"a\n2\n")
    assert edge.next_batch(None, committed=0) is None
    assert taken(source.run(committed=0)) == ["b.csv"]


def test_a_file_that_grew_since_it_was_listed_waits_for_the_next_run(source: Source) -> None:
    path = source.land("a.csv")
    edge = Edge(source.landing, Ledger(source.path), source.contract)
    edge.report_misplaced(None, None)
    path.write_bytes(b"a\n1\n2\n")
    assert edge.next_batch(None, committed=-1) is None
    assert [finding.code for finding in edge.findings] == ["growing"]
    assert taken(source.run()) == ["a.csv"]


def test_a_duplicate_of_a_file_that_could_not_be_read_is_taken_by_the_same_run(source: Source) -> None:
    source.land("a.csv")
    source.land("b.csv")
    edge = Edge(source.landing, Ledger(source.path), source.contract)
    batch = edge.next_batch(None, committed=-1)
    assert batch is not None
    assert taken(batch) == ["a.csv"]
    error = LandingError(object="a.csv", observed="damaged", expected="a complete file", next_step="repair it")
    edge.leave_out(batch.deliveries[0], error)
    assert taken(edge.next_batch(None, committed=-1)) == ["b.csv"]


def test_files_beyond_the_bound_of_a_batch_are_in_the_next(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.landing.edge.BATCH_FILES", 2)
    for number in range(5):
        source.land(f"{number}.csv", str(number).encode())
    sizes = []
    while (batch := source.run(committed=len(sizes) - 1)) is not None:
        sizes.append(len(batch.deliveries))
    assert sizes == [2, 2, 1]
