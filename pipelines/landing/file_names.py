"""Which files are deliveries by their names: those that the pattern in the contract's path matches, in their case."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from pipelines.contracts.model import Contract
from pipelines.landing.delivery import Delivery
from pipelines.landing.findings import Finding
from pipelines.landing.zone import Landing
from pipelines.machine.terminal import printable

#: How the names of files end that browsers, editors and transfer tools are still writing.
TEMPORARY = re.compile(r".+(?:\.(?:part|partial|filepart|tmp|temp|crdownload|download|uploading|swp)|~)", re.IGNORECASE)
#: The end of a name that says how the file is written, perhaps with its compression: `.csv.gz`.
_EXTENSION = re.compile(r"(\.[a-z]\w{0,8})?(\.(?:gz|zst|zstd))?$", re.ASCII | re.IGNORECASE)


def is_temporary(name: str) -> bool:
    """Whether the name is one that a file commonly has while it is written: `a.csv.part`, `a.tmp`, `a.csv~`."""
    return TEMPORARY.fullmatch(name) is not None


def is_named(delivery: Delivery, contract: Contract) -> bool:
    """Whether the file has a name of a delivery; `export.csv.part` has none, unless the contract says `*.part`."""
    name, pattern = delivery.uri.rpartition("/")[2], contract.file_pattern
    return fnmatchcase(name, pattern) and (not is_temporary(name) or is_temporary(pattern))


def pattern(names: Collection[str]) -> str:
    """The pattern that files with these names share: `*.csv`, `*.csv.gz`, `*.csv*` for both, or `*`."""
    found = [match.groups("") for name in names if (match := _EXTENSION.search(name))]
    plain, packed = {extension for extension, _ in found}, {compression for _, compression in found}
    if len(plain) != 1 or plain == {""}:
        return "*"
    return f"*{plain.pop()}{packed.pop() if len(packed) == 1 else '*'}"


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
        observed = f"another name than that of a complete delivery{more}"
        findings.append(Finding(printable(files[0].uri), "other_name", "waiting", observed, expected, step))
    return findings
