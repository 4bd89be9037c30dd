"""Fresh deliveries: those that no run has judged as they are now."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

from pipelines.contracts.model import Contract
from pipelines.landing.delivery import Delivery
from pipelines.landing.file_names import is_named
from pipelines.landing.ledger import Ledger
from pipelines.landing.zone import Landing


def fresh(ledger: Ledger, contract: Contract, deliveries: Collection[Delivery]) -> Iterator[Delivery]:
    """The deliveries that are not judged yet: new ones, changed ones, and those that an older contract refused.

    A file whose name the contract's pattern does not match is no delivery.
    """
    judged = ledger.judged({delivery.interval for delivery in deliveries}, judged_by=contract.digest)
    return (d for d in deliveries if (d.uri, d.bytes, d.modified_ns) not in judged and is_named(d, contract))


class FreshDeliveries:
    """The fresh deliveries of one run, batch by batch, so that a million files are listed once and not for each batch.

    Args:
        landing: Where the deliveries are.
        ledger: What became of each.
        contract: The contract of the bronze table.
    """

    def __init__(self, landing: Landing, ledger: Ledger, contract: Contract) -> None:
        self._landing = landing
        self._ledger = ledger
        self._contract = contract
        #: The rest of the listing.
        self._listing: Iterator[Delivery] = iter(())
        #: Whether a listing begins where this one ends.
        self._begins_anew = True

    def next(
        self, intervals: Collection[str] | None, without: Collection[str], *, files: int, size: int
    ) -> list[Delivery]:
        """The next deliveries; an empty list at the end.

        Args:
            intervals: The intervals whose deliveries are listed; None for all.
            without: Uris of deliveries that are passed over.
            files: The most deliveries.
            size: The most bytes that they have together, unless the first one has more.
        """
        chosen: list[Delivery] = []
        while not chosen:
            for delivery in self._listing:
                if len(chosen) == files or (chosen and size < delivery.bytes):
                    self._listing = itertools.chain([delivery], self._listing)
                    break
                if delivery.uri not in without:
                    chosen.append(delivery)
                    size -= delivery.bytes
            if chosen or not self._begins_anew:
                break
            self._listing, self._begins_anew = self._listed(intervals), False
        return chosen

    def list_again(self) -> None:
        """Looks at all deliveries once more at the end: one that was judged may be fresh again."""
        self._begins_anew = True

    def _listed(self, intervals: Collection[str] | None) -> Iterator[Delivery]:
        """The fresh deliveries, interval by interval, so that memory holds the files of one interval."""
        domain, source = self._contract.table.domain, self._contract.table.table
        for name in self._landing.intervals(domain, source):
            if intervals is None or name in intervals:
                yield from fresh(self._ledger, self._contract, self._landing.deliveries_of(domain, source, name))
