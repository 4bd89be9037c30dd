"""The edge: what a delivery has to pass before a row of it is read, and what became of each.

A file that is wrong is refused, with its reason in the ledger; one that is not complete yet is left until it is. Either
way the others are taken. What was noticed is a `Finding`, which people see on the bronze asset's check.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.landing.column_drift import ColumnDrift
from pipelines.landing.ledger import Batch, Ledger
from pipelines.landing.zone import Delivery, Landing, Manifest

Treatment = Literal["refused", "waiting", "skipped", "taken"]

#: What one commit takes at most: so much work is done again after a crash.
BATCH_BYTES = 1 << 30
BATCH_FILES = 10_000
CLOCK_SKEW_SECONDS = 300
PREFIX_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a delivery that a person may have to react to, and what was done with it."""

    subject: str
    code: str
    treatment: Treatment
    observed: str
    expected: str = ""
    next_step: str = ""


def fresh(ledger: Ledger, contract: Contract, found: Collection[Delivery]) -> Iterator[Delivery]:
    """The deliveries that nobody has judged: new ones, changed ones, and those that an older contract refused."""
    settled = {
        (record.delivery.uri, record.delivery.bytes, record.delivery.modified_ns)
        for record in ledger.records(intervals={delivery.interval for delivery in found})
        if record.fate != "refused" or record.judged_by == contract.digest
    }
    return (d for d in found if (d.uri, d.bytes, d.modified_ns) not in settled)


class Edge:
    """The edge of one bronze table for one run; `findings` grow as deliveries are looked at."""

    def __init__(self, landing: Landing, ledger: Ledger, contract: Contract) -> None:
        self.landing = landing
        self.ledger = ledger
        self.contract = contract
        self.findings: list[Finding] = []
        self._left: set[str] = set()
        self._drifts: set[str] = set()
        #: What is left of the newest look into landing: a million files are not listed again for each batch of them.
        self._fresh: Iterator[Delivery] | None = None

    def next_batch(self, intervals: Collection[str] | None, *, committed: int) -> Batch | None:
        """The batch that a killed run had planned, else one of what is fresh and complete, else None.

        Args:
            intervals: Which intervals this run may take; None for all.
            committed: The last batch that the bronze table carries; -1 before the first.
        """
        pending = self.ledger.pending(committed=committed)
        if pending is not None:
            return pending
        taken: dict[str, Delivery] = {}  # by prefix
        again: list[Delivery] = []
        size = 0
        if self._fresh is None:
            self._fresh = self._look(intervals)
        for delivery in self._fresh:
            if len(taken) == BATCH_FILES or (taken and size + delivery.bytes > BATCH_BYTES):
                self._fresh = itertools.chain([delivery], self._fresh)
                break
            judged = None if delivery.uri in self._left else self._judge(delivery)
            if judged is None:
                continue
            if self._repeats(judged, taken):
                again.append(judged)
            else:
                taken[judged.prefix or ""] = judged
                size += judged.bytes
        else:
            self._fresh = None  # what lands meanwhile is found by the next look
        if again:
            self.ledger.duplicates(again, judged_by=self.contract.digest)
        if not taken:
            return None
        return self.ledger.plan(list(taken.values()), committed=committed, judged_by=self.contract.digest)

    def _look(self, intervals: Collection[str] | None) -> Iterator[Delivery]:
        """What is fresh, interval by interval, so that memory holds the files of one."""
        domain, source = self.contract.table.domain, self.contract.table.table
        for interval in self.landing.intervals(domain, source) if intervals is None else sorted(set(intervals)):
            yield from fresh(self.ledger, self.contract, self.landing.deliveries(domain, source, [interval]))

    def complete(self, delivery: Delivery) -> bool:
        """Whether a run that began now would look into the delivery, and not leave it until later."""
        try:
            return not self._waits(delivery, self.landing.manifest(delivery))
        except (LandingError, OSError):
            return False

    def _repeats(self, delivery: Delivery, taken: Mapping[str, Delivery]) -> bool:
        """Whether its content is taken already, by this batch or one before."""
        record = self.ledger.find(delivery.prefix or "")
        first = record.delivery if record else taken.get(delivery.prefix or "")
        if first is not None and first.uri != delivery.uri:
            self._find(delivery, "duplicate", "skipped", f"the same bytes as {first.uri}")
        return first is not None

    def _judge(self, delivery: Delivery) -> Delivery | None:
        """The delivery with its checksum, or None where it is refused or has to wait."""
        try:
            manifest = self.landing.manifest(delivery)
            if self._waits(delivery, manifest):
                return None
            digest = self.landing.checksum(delivery)
        except FileNotFoundError:
            return None
        except LandingError as error:
            return self._wait(delivery, "manifest", error.observed)
        except OSError as error:
            return self._wait(delivery, "unreadable", f"{type(error).__name__}: {error.strerror or error}")
        sealed = replace(delivery, sha256=digest, prefix=_prefix(self.contract, delivery, digest, manifest))
        if self.landing.now(delivery) != delivery:
            return self._wait(delivery, "growing", "it changed while it was looked at")
        before = self.ledger.taken(delivery.uri)
        if before is not None and before.sha256 != digest:
            return self._refuse(sealed, _changed(sealed, before))
        if manifest is not None and (manifest.bytes, manifest.sha256) != (delivery.bytes, digest):
            return self._refuse(sealed, _differs(sealed, manifest))
        return sealed

    def _waits(self, delivery: Delivery, manifest: Manifest | None) -> bool:
        age = datetime.now(UTC).timestamp() - delivery.modified_ns / 1e9
        if age < -CLOCK_SKEW_SECONDS:
            self._find(delivery, "clock_skew", "taken", f"written {-age:.0f} s in the future, by its own clock")
        if manifest is None and self.contract.manifest == "required":
            self._wait(delivery, "no_manifest", "its manifest has not landed")
        elif manifest is not None and delivery.bytes < manifest.bytes:
            self._wait(delivery, "incomplete", f"{delivery.bytes} of {manifest.bytes} bytes have landed")
        elif manifest is None and 0 <= age < self.contract.settle_seconds:
            self._wait(
                delivery, "settling", f"written {age:.0f} s ago, and a writer has {self.contract.settle_seconds} s"
            )
        else:
            return False
        return True

    def leaving(self, left: list[Delivery]) -> Callable[[Delivery, LandingError], None]:
        """What to call for a planned delivery that could not be read after all: its batch goes on without it."""

        def leave(delivery: Delivery, error: LandingError) -> None:
            left.append(delivery)
            if error.code == "growing":
                self.ledger.put_back([delivery])
                self._wait(delivery, error.code, error.observed)
            else:
                self._refuse(delivery, error)

        return leave

    def drifted(self, delivery: Delivery, drift: ColumnDrift) -> None:
        """Notes that a delivery's columns are not the contract's; once for each difference of a run."""
        words = drift.words()
        if words not in self._drifts:
            self._drifts.add(words)
            expected = f"the columns of {self.contract.path.name}"
            step = f"correct the contract or the source; until then {drift.treatment(self.contract)}"
            self.findings.append(Finding(delivery.uri, "column_drift", "taken", words, expected, step))

    def links(self, intervals: Collection[str] | None) -> None:
        """Notes symbolic links, which nobody follows: they could lead out of landing."""
        table = self.contract.table
        for uri in self.landing.links(table.domain, table.table, intervals):
            self.findings.append(
                Finding(uri, "link", "skipped", "a symbolic link", "a file", "deliver the file itself")
            )

    def _refuse(self, delivery: Delivery, error: LandingError) -> None:
        self.ledger.refuse(delivery, error.code, error, judged_by=self.contract.digest)
        self.findings.append(
            Finding(delivery.uri, error.code, "refused", error.observed, error.expected, error.next_step)
        )

    def _wait(self, delivery: Delivery, code: str, observed: str) -> None:
        self._left.add(delivery.uri)
        self._find(delivery, code, "waiting", observed)

    def _find(self, delivery: Delivery, code: str, treatment: Treatment, observed: str) -> None:
        self.findings.append(Finding(delivery.uri, code, treatment, observed, _EXPECTED[code], _NEXT[treatment]))


_NEXT = {
    "waiting": "nothing is lost: the next run looks again",
    "skipped": "nothing is lost: what it holds was taken",
    "taken": "correct it at the source",
    "refused": "",
}
_EXPECTED = {
    "clock_skew": f"clocks within {CLOCK_SKEW_SECONDS} s of each other",
    "duplicate": "each content once",
    "growing": "a file that is written under another name and renamed when it is complete",
    "incomplete": "as many bytes as its manifest names",
    "manifest": "a manifest that can be read",
    "no_manifest": "a manifest beside it, as the contract asks",
    "settling": "a file that nobody writes to",
    "unreadable": "a file that this user may read",
}


def _prefix(contract: Contract, delivery: Delivery, digest: str, manifest: Manifest | None) -> str:
    """What makes two deliveries the same: equal bytes, but where the source says that they are not.

    A snapshot may come back to an earlier state, so its interval is a part of it. An extraction goes on from where the
    one before left off, so its number is: two lines of a log may be equal and both have happened.
    """
    if contract.delivery == "snapshot":
        digest = hashlib.sha256(f"{delivery.interval}/{digest}".encode()).hexdigest()
    elif manifest is not None and manifest.sequence:
        digest = hashlib.sha256(f"{manifest.sequence}/{digest}".encode()).hexdigest()
    return digest[:PREFIX_CHARACTERS]


def _changed(delivery: Delivery, before: Delivery) -> LandingError:
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"its content changed after it was taken (sha256 now {str(delivery.sha256)[:12]})",
        expected=f"sha256 {str(before.sha256)[:12]}: what has landed is never changed",
        next_step="deliver the correction under another name and restore the first file",
        code="changed",
    )


def _differs(delivery: Delivery, manifest: Manifest) -> LandingError:
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"{delivery.bytes} bytes with sha256 {str(delivery.sha256)[:12]}",
        expected=f"{manifest.bytes} bytes with sha256 {manifest.sha256[:12]}, as its manifest says",
        next_step="ask the source for it again: it was damaged on its way, or its manifest belongs to another file",
        code="checksum",
    )
