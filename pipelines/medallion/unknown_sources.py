"""Table drift: sources that land and that no contract describes, and what their domain's drift mode makes of them.

Where tables evolve, such a source gets a bronze table under a contract that is read off its files. Else its deliveries
are left where they are, and the check says so: an error where tables are frozen, a warning where they are discarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import dagster as dg

from pipelines.contracts.load import load
from pipelines.contracts.model import Contract, Drift
from pipelines.governed.declaration import Check, GovernedRun
from pipelines.landing import proposal
from pipelines.landing.zone import Landing
from pipelines.medallion.bronze import bronze_work
from pipelines.tables import TableId

CHECK = Check("described", "Every source that lands has a contract", blocking=False)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A source without contract; `rows` were taken to a bronze table of its name where tables evolve."""

    domain: str
    source: str
    mode: Drift
    deliveries: int
    rows: int = 0


def unknown_sources(landing: Landing, domain: str, contracts: Mapping[TableId, Contract]) -> list[str]:
    """The folders of a domain that hold deliveries and belong to no bronze table."""
    known = {table.table for table in contracts if (table.zone, table.domain) == ("bronze", domain)}
    return [name for name in landing.sources(domain) if name not in known and landing.deliveries(domain, name)]


def table_drift(domain: str, contracts: Mapping[TableId, Contract]) -> Drift:
    """The strictest of what the domain's bronze contracts say about new tables."""
    found = {c.drift["tables"] for t, c in contracts.items() if (t.zone, t.domain) == ("bronze", domain)}
    return max(found, key=get_args(Drift).index, default="freeze")


def treat(run: GovernedRun) -> list[Unknown]:
    """Looks at the landing folders of every domain that has a contract, and takes what may evolve."""
    platform, found = run.platform, []
    for domain in sorted({table.domain for table in platform.contracts if table.zone == "bronze"}):
        mode = table_drift(domain, platform.contracts)
        for source in unknown_sources(platform.landing, domain, platform.contracts):
            deliveries = len(platform.landing.deliveries(domain, source))
            rows = _take(run, domain, source) if mode == "evolve" else 0
            found.append(Unknown(domain, source, mode, deliveries, rows))
    return found


def _take(run: GovernedRun, domain: str, source: str) -> int:
    path = _proposed(run, domain, source)
    [written] = bronze_work(load(path))(run)
    return int(written.dataset.rows or 0)


def _proposed(run: GovernedRun, domain: str, source: str) -> Path:
    """The contract under which an unknown source is taken; read off its files once, then kept."""
    platform = run.platform
    path = platform.settings.root / "proposed" / domain / f"bronze_{source}.yaml"
    if not path.exists():
        like = next(c for t, c in sorted(platform.contracts.items()) if (t.zone, t.domain) == ("bronze", domain))
        found = proposal.sample(platform.landing, domain, source)
        documents = proposal.documents(domain, source, found, like)
        document = documents[f"bronze_{source}.yaml"]
        for entry in document["customProperties"]:
            if entry["property"] == "drift":
                entry["value"] = dict.fromkeys(entry["value"], "evolve")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(proposal.render({path.name: document})[path.name], encoding="utf-8")
    return path


def check_result(found: list[Unknown], key: list[str]) -> dg.AssetCheckResult:
    """Passed if every source has a contract; an error if one has none where tables are frozen."""
    frozen = [unknown for unknown in found if unknown.mode == "freeze"]
    names = ", ".join(f"{unknown.domain}/{unknown.source}" for unknown in found)
    return dg.AssetCheckResult(
        check_name=CHECK.name,
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR if frozen else dg.AssetCheckSeverity.WARN,
        asset_key=dg.AssetKey(key),
        description=f"no contract describes {names}: goldpath landing propose" if found else "each has its contract",
    )
