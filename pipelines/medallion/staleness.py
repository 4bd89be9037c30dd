"""Whether a table is older than its contract allows, as each run says it: also a run that had nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract, Severity
from pipelines.lakehouse import time_travel
from pipelines.verdict import table_rules

#: How many commits are read to find the last write: a run must not read the whole log of a table.
NEWEST = 20

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


def not_written_since(platform: Platform, contract: Contract) -> str:
    """What to say of a table without a new row for longer than its contract's freshness; empty if there was one.

    The age is that of the last write, by the platform's clock.
    """
    from deltalake.exceptions import DeltaError

    try:
        commits = time_travel.commits(platform.lakehouse, contract.table, newest=NEWEST)
    except DeltaError:
        return "its age is not known, since an older entry of its log is damaged: `goldpath doctor` names it"
    if not commits:
        return ""
    # Upkeep may have made all of them, or the log was pruned: the last write is then older than the oldest of them.
    last = time_travel.made_by(commits, commits[0].at) or commits[-1]
    allowed = timedelta(seconds=contract.freshness_seconds)
    if platform.now() - last.committed_at <= allowed:
        return ""
    since = last.committed_at.isoformat(timespec="seconds")
    return f"no new rows since {since}, for longer than the freshness of the contract, {allowed}"


def findings(platform: Platform, contract: Contract) -> Iterator[tuple[Severity, str]]:
    """What makes the published version of a table too old now: its last write, and its freshness rules."""
    if since := not_written_since(platform, contract):
        yield "warning", since
    rules = tuple(rule for rule in contract.table_rules if rule.kind == "freshness")
    if rules:
        rows = platform.lakehouse.read(platform.lakehouse.current(contract.table))
        for result in table_rules.measure(rows, replace(contract, table_rules=rules), now=platform.now(), previous={}):
            if not result.passed:
                yield result.rule.severity, f"{result}, {result.rule.bounds} expected"
