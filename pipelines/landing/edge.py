"""The edge: what a delivery must pass before its rows are read, and the record of the deliveries that do not pass.

A wrong file is refused, and the ledger keeps the reason. An incomplete file is left for a later run. In both cases the
other files are taken. What a run noticed is a list of `Finding`, which people see on the bronze asset's check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.landing import interval, placement, refusals
from pipelines.landing.column_drift import ColumnDrift
from pipelines.landing.delivery import PREFIX_CHARACTERS, Delivery, Manifest, digest
from pipelines.landing.file_names import otherwise_named
from pipelines.landing.findings import Finding, Treatment
from pipelines.landing.fresh import FreshDeliveries
from pipelines.landing.ledger import Batch, Ledger
from pipelines.landing.small_files import SMALL_BYTES
from pipelines.landing.stores import ListedOnce
from pipelines.landing.zone import Landing

#: The most that one batch takes, and so the most that is done again after a crash.
BATCH_BYTES = 1 << 30
BATCH_FILES = 10_000
#: The most files that are read again in one batch: the commit names each of them.
RETAKE_FILES = 1_000
#: How far a store's clock may be ahead of this machine's before it is reported.
CLOCK_SKEW_SECONDS = 300


class Edge:
    """The edge of one bronze table for one run; `findings` grows as the run looks at deliveries.

    Args:
        landing: Where the deliveries are.
        ledger: What became of each.
        contract: The contract of the bronze table.
        by_day: Whether each day of the table has its own deliveries, so that equal bytes may land for two days.
        now: The platform's time, UTC, if it is another than that of this machine.
    """

    def __init__(
        self,
        landing: Landing,
        ledger: Ledger,
        contract: Contract,
        *,
        by_day: bool = False,
        now: datetime | None = None,
    ) -> None:
        self.landing = Landing(ListedOnce(landing.store))
        self.ledger = ledger
        self.contract = contract
        self._by_day = by_day
        self._now = max(datetime.now(UTC), now or datetime.now(UTC))
        self.findings: list[Finding] = []
        #: Uris of the deliveries that this run leaves for a later one.
        self._waiting: set[str] = set()
        #: The column drifts that this run has reported, in words.
        self._drifts: set[str] = set()
        #: The bytes of the small files of the newest batch, from which their checksums were computed.
        self.contents: dict[str, bytes] = {}
        self._fresh = FreshDeliveries(self.landing, ledger, contract)

    def next_batch(self, intervals: Collection[str] | None, *, committed: int) -> Batch | None:
        """The next batch to take: the one that a killed run had planned, else a new one; None if nothing is left.

        Args:
            intervals: The intervals that this run may take; None for all.
            committed: The number of the last batch that the bronze table has; -1 before the first.
        """
        pending = self.ledger.pending(committed=committed)
        if pending is not None and not pending.retake:
            return pending
        if pending is not None:
            self.ledger.ask_again(pending)
        self.contents.clear()
        retake = self._next_retake(intervals, committed)
        if retake is not None:
            return retake
        while candidates := self._fresh.next(intervals, self._waiting, files=BATCH_FILES, size=BATCH_BYTES):
            before = self.ledger.taken([delivery.uri for delivery in candidates])
            judged = [found for d in candidates if (found := self._judge(d, before.get(d.uri))) is not None]
            deliveries = self._without_duplicates(judged)
            if deliveries:
                return self.ledger.plan(deliveries, committed=committed, judged_by=self.contract.reading)
        return None

    def _next_retake(self, intervals: Collection[str] | None, committed: int) -> Batch | None:
        """The next deliveries to read again, of those that a person asked for; None if nothing is left."""
        deliveries: list[Delivery] = []
        for record in self.ledger.asked_retakes():
            before = record.delivery
            if intervals is not None and before.interval not in intervals:
                continue
            size = sum(delivery.bytes for delivery in deliveries)
            if len(deliveries) == RETAKE_FILES or (deliveries and size + before.bytes > BATCH_BYTES):
                break
            now = self.identified(before)
            if now is None or now.sha256 != before.sha256:
                self.leave_out_retake(before, refusals.gone_or_changed(before, now))
            else:
                deliveries.append(replace(now, prefix=before.prefix))
        if not deliveries:
            return None
        return self.ledger.plan_retake(deliveries, committed=committed, judged_by=self.contract.reading)

    def complete(self, delivery: Delivery) -> bool:
        """Whether a run that began now would judge the delivery, instead of leaving it for a later run."""
        try:
            return not self._waits(delivery, self.landing.manifest(delivery))
        except (LandingError, OSError):
            return False

    def _without_duplicates(self, judged: Sequence[Delivery]) -> list[Delivery]:
        """The deliveries without those whose content an earlier batch, or one before them here, has; notes these."""
        records = self.ledger.find([str(delivery.prefix) for delivery in judged])
        firsts = {prefix: record.delivery for prefix, record in records.items()}
        new: list[Delivery] = []
        duplicates: list[Delivery] = []
        for delivery in judged:
            first = firsts.setdefault(str(delivery.prefix), delivery)
            (new if first is delivery else duplicates).append(delivery)
            if first is not delivery:
                is_same = first.interval == delivery.interval
                more = "" if is_same else f": {delivery.interval} gets no rows of its own"
                code = "duplicate" if is_same else "repeated"
                self._report(delivery, code, "skipped", f"the same bytes as {first.uri}{more}")
        if duplicates:
            self.ledger.duplicates(duplicates, judged_by=self.contract.digest)
        return new

    def _judge(self, delivery: Delivery, before: Delivery | None) -> Delivery | None:
        """The delivery with checksum and prefix; None if it is refused, has to wait, is gone or was only touched.

        `before` is the delivery of the same uri that is in a batch.
        """
        try:
            manifest = self.landing.manifest(delivery)
            if self._waits(delivery, manifest):
                return None
            judged = self._identified(delivery, manifest)
        except FileNotFoundError:
            return None
        except LandingError as error:
            return self._wait(delivery, "manifest", error.observed)
        except OSError as error:
            return self._wait(delivery, "unreadable", f"{type(error).__name__}: {error.strerror or error}")
        if self.landing.now(delivery) != delivery:
            return self._wait(delivery, "growing", "it changed while its checksum was computed")
        if before is not None and judged.sha256 != before.sha256 and judged.prefix != before.prefix:
            return self._refuse(judged, refusals.changed(judged, before))
        if before is not None:
            return self.ledger.touch(judged)
        if manifest is not None and (manifest.bytes, manifest.sha256) != (judged.bytes, judged.sha256):
            return self._refuse(judged, refusals.differs(judged, manifest))
        return judged

    def identified(self, delivery: Delivery) -> Delivery | None:
        """A delivery as its file is now, with checksum and prefix; None if it is gone or cannot be read."""
        now = self.landing.now(delivery)
        try:
            return self._identified(now, self.landing.manifest(now)) if now else None
        except (LandingError, OSError):
            return None

    def _identified(self, delivery: Delivery, manifest: Manifest | None) -> Delivery:
        """The delivery with its checksum and prefix.

        Equal bytes give equal prefixes, and two deliveries with one prefix are duplicates, with three exceptions. A
        snapshot may return to an earlier state, and two days of a table by day may be equal, so their interval is part
        of the prefix. A numbered extraction begins where the one before ended, so its number is: two equal lines of a
        log may both have happened.
        """
        sha256 = self._checksum(delivery)
        sequence = manifest.sequence if manifest is not None else 0
        with_interval = self.contract.delivery == "snapshot" or (self._by_day and not sequence)
        distinction = delivery.interval if with_interval else sequence
        identity = hashlib.sha256(f"{distinction}/{sha256}".encode()).hexdigest() if distinction else sha256
        return replace(delivery, sha256=sha256, prefix=identity[:PREFIX_CHARACTERS])

    def _checksum(self, delivery: Delivery) -> str:
        """The checksum of the file as it is now; the bytes of a small one are kept for the batch."""
        if delivery.bytes > SMALL_BYTES:
            return self.landing.checksum(delivery)
        with self.landing.open(delivery) as stream:
            self.contents[delivery.uri] = stream.read(SMALL_BYTES + 1)
        return digest(self.contents[delivery.uri])

    def _waits(self, delivery: Delivery, manifest: Manifest | None) -> bool:
        """Whether the delivery is left for a later run, which is reported."""
        now = datetime.now(UTC)
        age = now.timestamp() - delivery.modified_ns / 1e9
        settle_seconds = self.contract.settle_seconds
        numbered = manifest is not None and manifest.sequence
        ahead = not numbered and interval.is_ahead(delivery.interval, self._now)
        if manifest is None and self.contract.manifest == "required":
            self._wait(delivery, "no_manifest", "its manifest has not landed")
        elif manifest is not None and delivery.bytes < manifest.bytes:
            self._wait(delivery, "incomplete", f"{delivery.bytes} of {manifest.bytes} bytes have landed")
        elif manifest is None and self._unchanged_seconds(delivery, now) < settle_seconds:
            self._wait(delivery, "settling", f"written {age:.0f} s ago, and a writer has {settle_seconds} s")
        elif ahead and self.contract.delivery == "snapshot":
            self._wait(delivery, "future", "a snapshot of the future, which would hide all that land until then")
        else:
            if ahead:
                self._report(delivery, "future", "taken", f"it covers {delivery.interval}, which is in the future")
            if age < -CLOCK_SKEW_SECONDS:
                self._report(delivery, "clock_skew", "taken", f"written {-age:.0f} s in the future, by its own clock")
            return False
        return True

    def _unchanged_seconds(self, delivery: Delivery, now: datetime) -> float:
        """For how long nobody has written to the file: by its time, or as observed if that is in the future."""
        age = now.timestamp() - delivery.modified_ns / 1e9
        if age >= 0 or not self.contract.settle_seconds:
            return abs(age)
        return (now - self.ledger.unchanged_since(delivery)).total_seconds()

    def leave_out(self, delivery: Delivery, error: LandingError) -> None:
        """Takes a planned delivery that could not be read out of its batch: it is refused, or waits if it changed."""
        if error.code == "growing":
            self.ledger.put_back([delivery])
            self._fresh.list_again()
            self._wait(delivery, error.code, error.observed)
        else:
            self._refuse(delivery, error)

    def leave_out_retake(self, delivery: Delivery, error: LandingError) -> None:
        """Leaves the rows of a delivery that could not be read again as they are, and reports it."""
        self.ledger.forget_retake(delivery)
        step = f"its rows stay as they were read before; {error.next_step}"
        self.findings.append(Finding(delivery.uri, error.code, "refused", error.observed, error.expected, step))

    def drifted(self, delivery: Delivery, drift: ColumnDrift) -> None:
        """Reports that a delivery's columns differ from the contract's; each difference once in a run."""
        words = drift.words()
        if words not in self._drifts:
            self._drifts.add(words)
            expected = f"the columns of {self.contract.path.name}"
            step = f"correct the contract or the source; until then {drift.treatment(self.contract)}"
            self.findings.append(Finding(delivery.uri, "column_drift", "taken", words, expected, step))

    def report_misplaced(self, intervals: Collection[str] | None, partitions: Collection[str] | None) -> None:
        """Reports what no run takes: links, what lies outside the folders of intervals, days without a partition.

        Args:
            intervals: The intervals whose folders are looked at; None for all.
            partitions: All partitions of the table; None for a table without partitions.
        """
        table = self.contract.table
        self.findings += placement.misplaced(self.landing.store, table.domain, table.table, intervals)
        self.findings += otherwise_named(self.landing, self.contract, intervals)
        for name in self.landing.intervals(table.domain, table.table) if partitions is not None else ():
            is_new = (
                abs(interval.order(name)[0] - self._now) < interval.AHEAD * 2
            )  # its partition may come with its end
            if name not in (partitions or ()) and not is_new:
                folder = f"{table.domain}/{table.table}/{interval.INTERVAL}{name}"
                step = "move its files to the day that they cover; until then no run takes them"
                self.findings.append(
                    Finding(folder, "misplaced", "waiting", "no partition of the table", "a day of the table", step)
                )

    def _refuse(self, delivery: Delivery, error: LandingError) -> None:
        self.ledger.refuse(delivery, error.code, error, judged_by=self.contract.digest)
        self._fresh.list_again()
        self.findings.append(
            Finding(delivery.uri, error.code, "refused", error.observed, error.expected, error.next_step)
        )

    def _wait(self, delivery: Delivery, code: str, observed: str) -> None:
        self._waiting.add(delivery.uri)
        self._report(delivery, code, "waiting", observed)

    def _report(self, delivery: Delivery, code: str, treatment: Treatment, observed: str) -> None:
        self.findings.append(Finding(delivery.uri, code, treatment, observed, _EXPECTED[code], _NEXT[treatment]))


_NEXT = {
    "waiting": "nothing is lost: the next run looks at it again",
    "skipped": "nothing is lost: its content was taken before",
    "taken": "correct it at the source",
    "refused": "",
}
_EXPECTED = {
    "clock_skew": f"clocks within {CLOCK_SKEW_SECONDS} s of each other",
    "duplicate": "each content once",
    "future": "an interval that has begun",
    "repeated": "new content, or for equal days a bronze table by day, with `partitions`",
    "growing": "a file that is written under another name and renamed when it is complete",
    "incomplete": "as many bytes as its manifest names",
    "manifest": "a manifest that can be read",
    "no_manifest": "a manifest beside it, which the contract requires",
    "settling": "a file that nobody writes to",
    "unreadable": "a file that this user may read",
}
