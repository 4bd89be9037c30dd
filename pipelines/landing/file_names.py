"""Which files are deliveries by their names: those that the pattern in the contract's path matches, in their case."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from fnmatch import fnmatchcase

from pipelines.contracts.model import Contract
from pipelines.landing.delivery import Delivery
from pipelines.landing.findings import Finding
from pipelines.landing.zone import Landing
from pipelines.machine.terminal import printable


def is_named(delivery: Delivery, contract: Contract) -> bool:
    """Whether the file has a name of a delivery; `export.csv.part` has none where the contract says `*.csv`."""
    return fnmatchcase(delivery.uri.rpartition("/")[2], contract.file_pattern)


def otherwise_named(landing: Landing, contract: Contract, intervals: Collection[str] | None) -> list[Finding]:
    """One finding for each interval with files of other names; None as intervals stands for all of them."""
    deliveries = landing.deliveries(contract.table.domain, contract.table.table, intervals)
    others = (delivery for delivery in deliveries if not is_named(delivery, contract))
    findings = []
    for _, group in itertools.groupby(others, key=lambda delivery: delivery.interval):
        files = list(group)
        more = f", and {len(files) - 1:,} more" if files[1:] else ""
        expected = f"a name like {contract.file_pattern}, as the server's path in {contract.path.name} says"
        step = "rename it once it is complete, or correct the path; until then no run takes it"
        observed = f"another name than that of a delivery{more}"
        findings.append(Finding(printable(files[0].uri), "other_name", "waiting", observed, expected, step))
    return findings
