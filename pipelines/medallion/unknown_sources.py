"""Table drift: sources that land without a contract, and what their domain's drift mode does about them.

Where tables evolve, such a source gets a bronze table with a contract that is derived from its files. Otherwise its
deliveries stay where they are, and a check reports them: as an error where tables are frozen, else as a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import dagster as dg

from pipelines.contracts.load import load
from pipelines.contracts.model import Contract, Drift
from pipelines.errors import ContractError, LandingError
from pipelines.governed.declaration import Check, GovernedRun
from pipelines.landing.proposal import documents
from pipelines.landing.proposal.look import look
from pipelines.landing.zone import Landing
from pipelines.machine.files import replace
from pipelines.medallion.bronze import bronze_work
from pipelines.tables import TableId

CHECK = Check("described", "Every source that lands has a contract", blocking=False)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A source without a contract.

    Attributes:
        domain: The data domain.
        source: The source's folder in landing.
        mode: What the domain's contracts say about new tables.
        deliveries: How many files have landed.
        rows: How many rows this run took into a bronze table of the source's name; 0 unless tables evolve.
        fault: Why none could be taken, although tables evolve; None if they were.
    """

    domain: str
    source: str
    mode: Drift
    deliveries: int
    rows: int = 0
    fault: str | None = None


def unknown_sources(landing: Landing, domain: str, contracts: Mapping[TableId, Contract]) -> list[str]:
    """The folders of a domain in landing that have deliveries and are those of no bronze table."""
    known = {table.table for table in contracts if (table.zone, table.domain) == ("bronze", domain)}
    return [name for name in landing.sources(domain) if name not in known and landing.deliveries(domain, name)]


def table_drift(domain: str, contracts: Mapping[TableId, Contract]) -> Drift:
    """The strictest mode for new tables among the domain's bronze contracts; `freeze` if it has none."""
    modes = {c.drift["tables"] for t, c in contracts.items() if (t.zone, t.domain) == ("bronze", domain)}
    return max(modes, key=get_args(Drift).index, default="freeze")


def treat(run: GovernedRun) -> list[Unknown]:
    """The sources without a contract of every domain that has one; takes the deliveries of those that may evolve."""
    platform, unknown = run.platform, []
    for domain in sorted({table.domain for table in platform.contracts if table.zone == "bronze"}):
        mode = table_drift(domain, platform.contracts)
        for source in unknown_sources(platform.landing, domain, platform.contracts):
            deliveries = len(platform.landing.deliveries(domain, source))
            rows, fault = 0, None
            if mode == "evolve":
                try:
                    rows = _take(run, domain, source)
                except (LandingError, ContractError) as error:  # of this source; the others are taken
                    fault = str(error)
            unknown.append(Unknown(domain, source, mode, deliveries, rows, fault))
    return unknown


def _take(run: GovernedRun, domain: str, source: str) -> int:
    """Takes the deliveries of a source into its bronze table; returns how many rows were new."""
    path = _proposed(run, domain, source)
    [written] = bronze_work(load(path))(run)
    return int(written.dataset.rows or 0)


def _proposed(run: GovernedRun, domain: str, source: str) -> Path:
    """The file of a source's derived contract; it is derived from what has landed once, then kept.

    Raises:
        LandingError: if no delivery can be read.
    """
    platform = run.platform
    path = platform.settings.root / "proposed" / domain / f"bronze_{source}.yaml"
    if not path.exists():
        like = next(c for t, c in sorted(platform.contracts.items()) if (t.zone, t.domain) == ("bronze", domain))
        proposed = documents.documents(look(platform.landing, domain, source), like.owner, like.tags)
        document = proposed[path.name]
        for entry in document["customProperties"]:
            if entry["property"] == "drift":
                entry["value"] = dict.fromkeys(entry["value"], "evolve")
        replace(path, documents.render({path.name: document})[path.name])
    return path


def check_result(unknown: list[Unknown], key: list[str]) -> dg.AssetCheckResult:
    """The check's result for an asset: passed if every source has a contract, an error where tables are frozen."""
    frozen = [source for source in unknown if source.mode == "freeze"]
    names = ", ".join(f"{source.domain}/{source.source}" for source in unknown)
    faults = "".join(f"; {source.fault}" for source in unknown if source.fault)
    return dg.AssetCheckResult(
        check_name=CHECK.name,
        passed=not unknown,
        severity=dg.AssetCheckSeverity.ERROR if frozen else dg.AssetCheckSeverity.WARN,
        asset_key=dg.AssetKey(key),
        description=f"no contract describes {names}: goldpath landing propose{faults}"
        if unknown
        else "every source has a contract",
    )
