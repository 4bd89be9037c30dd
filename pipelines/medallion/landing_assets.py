"""Landing assets: of a source and a contract, an asset that extracts what is new and lands it.

    landed_orders = landing_asset(contract("bronze/orders"), SqlCursor("shop", "orders"))
    bronze_orders = bronze_asset(contract("bronze/orders"))

An extraction begins at the position in the manifest of the newest landed delivery, and at nothing else. So the run
after a killed one continues behind what that one landed, and a delivery lands once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Check, Declaration, GovernedRun, Written
from pipelines.governed.platform import Platform
from pipelines.landing.delivery import Manifest
from pipelines.landing.findings import Finding
from pipelines.landing.findings import record as record_findings
from pipelines.lineage.events import Dataset
from pipelines.machine.locks import held
from pipelines.sources.base import Source
from pipelines.tables import TableId


def landing_asset(
    contract: Contract,
    source: Source,
    *,
    deps: Sequence[Sequence[str]] = (),
    automation: dg.AutomationCondition[Any] | None = None,
) -> dg.AssetsDefinition:
    """The asset `landing/<domain>/<table>`: the deliveries of one source, extracted by the platform itself.

    A run raises SettingsError if the connection is not set, and what the source raises. Dagster retries it after a
    TransientError; what landed before the error stays.

    Args:
        contract: The contract of the bronze table that takes the deliveries; the asset has its owner, tags and grain.
        source: Where and how to extract; its connection is looked up in GOLDPATH_SOURCES when the asset runs.
        deps: Keys of assets that must be materialized first.
        automation: When the asset materializes by itself.
    """
    table = contract.table

    def work(run: GovernedRun) -> Iterator[Written]:
        now = run.platform.now()
        extraction = extract(run.platform, table, source, now=now)
        metadata: dict[str, Any] = {
            "files": extraction.files,
            "rows": extraction.rows,
            "bytes": extraction.bytes,
            "sequence": extraction.sequence,
        }
        if extraction.position is not None:
            metadata["position"] = dg.MetadataValue.json(extraction.position)
        findings = _ahead(table, extraction.position or {}, now)
        record_findings(run.platform.lakehouse, findings, table=table, run_id=run.run_id)
        if (newest := extraction.attributes.get("newest")) is not None:
            metadata["lag_seconds"] = (now - datetime.fromisoformat(newest)).total_seconds()
        if (backlog := extraction.attributes.get("backlog")) is not None:
            metadata["backlog"] = backlog
        dataset = Dataset(
            f"landing/{table.domain}/{table.table}",
            str(extraction.sequence),
            contract.owner,
            rows=extraction.rows,
            bytes=extraction.bytes,
        )
        yield Written(dataset, metadata, (_cursor_check(findings),))

    declaration = Declaration(
        key=("landing", table.domain, table.table),
        kind="landing",
        owner=contract.owner,
        tags=contract.tags,
        description=f"{contract.purpose}\n\nWhat is new in the source since the last delivery. Grain: {contract.grain}",
        kinds=(source.kind,),
        deps=tuple(tuple(dep) for dep in deps),
        checks=(Check("cursor", "No row of the source is dated in the future.", blocking=False),),
        freshness=timedelta(seconds=contract.freshness_seconds),
    )
    return declare(declaration, work, automation=automation)


def _ahead(table: TableId, position: Mapping[str, Any], now: datetime) -> list[Finding]:
    """The finding that rows of a source are dated in the future, as its position says."""
    if not (ahead := position.get("ahead")):
        return []
    newest = ahead["newest"] if isinstance(ahead, dict) else ahead[0]
    return [
        Finding(
            subject=f"landing/{table.domain}/{table.table}",
            code="cursor_ahead",
            treatment="taken",
            observed=f"rows dated in the future, up to {newest}; the platform's time is {now.isoformat()}",
            expected="cursor values up to now; the position stays before such rows, so that later rows land",
            next_step="correct the rows in the source; if its times are local ones, store them with their offset",
        )
    ]


def _cursor_check(findings: Sequence[Finding]) -> dg.AssetCheckResult:
    observed = "; ".join(f"{finding.observed}. Next: {finding.next_step}" for finding in findings)
    return dg.AssetCheckResult(
        check_name="cursor",
        passed=not findings,
        severity=dg.AssetCheckSeverity.WARN,
        description=observed or "no row is dated in the future",
    )


@dataclass(slots=True)
class Extraction:
    """What one run landed.

    Attributes:
        sequence: The number of the newest landed delivery, of this run or of an earlier one; 0 if there is none.
        position: Where the source was read to; None before the first delivery.
        files: How many deliveries this run landed.
        rows: How many records they have.
        bytes: Their size.
        attributes: What the source says of the newest delivery of this run.
    """

    sequence: int
    position: Mapping[str, Any] | None
    files: int = 0
    rows: int = 0
    bytes: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)


def extract(platform: Platform, table: TableId, source: Source, *, now: datetime) -> Extraction:
    """Lands what a source has behind the newest delivery of a table, each delivery with its manifest.

    It holds a lock meanwhile: two extractions at once would both begin at one position.

    Raises:
        SettingsError: if the source's connection is not set.
        LockTimeout: if another extraction of the source does not end.
    """
    landing, settings = platform.landing, platform.settings
    address = settings.source(source.connection) if source.connection else str(settings.root)
    lock = settings.root / "locks" / f"landing_{table.source_name}.lock"
    with held(lock, purpose=f"an extraction of landing/{table.domain}/{table.table}"):
        extraction = Extraction(*(landing.position(table.domain, table.table) or (0, None)))
        for extracted in source.extract(extraction.position, connection=address, now=now):
            extraction.sequence += 1
            extraction.position, extraction.attributes = extracted.position, extracted.attributes
            manifest = Manifest.of(
                extracted.content,
                rows=extracted.rows,
                sequence=extraction.sequence,
                position=extracted.position,
                attributes=extracted.attributes,
            )
            landing.deliver(
                domain=table.domain,
                source=table.table,
                interval=extracted.interval,
                name=extracted.name,
                content=extracted.content,
                manifest=manifest,
            )
            extraction.files += 1
            extraction.rows += extracted.rows
            extraction.bytes += manifest.bytes
    return extraction
