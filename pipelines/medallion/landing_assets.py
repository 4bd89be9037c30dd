"""Landing assets: a source and a contract make an asset that extracts what is new and lands it.

    landed_orders = landing_asset(contract("bronze/orders"), SqlCursor("shop", "orders"))
    bronze_orders = bronze_asset(contract("bronze/orders"))

Where an extraction begins is the position in the manifest of the newest landed delivery, and nothing else: a run that
was killed is continued behind what it landed, and a delivery lands once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Declaration, GovernedRun, Written
from pipelines.governed.platform import Platform
from pipelines.landing.zone import Manifest
from pipelines.lineage.events import Dataset
from pipelines.sources.base import Source
from pipelines.tables import TableId


def landing_asset(
    contract: Contract,
    source: Source,
    *,
    deps: Sequence[Sequence[str]] = (),
    automation: dg.AutomationCondition[Any] | None = None,
) -> dg.AssetsDefinition:
    """The deliveries of one source, `landing/<domain>/<table>`, extracted by the platform itself.

    Args:
        contract: The contract of the bronze table that takes them: owner, tags and grain are its.
        source: Where and how to extract; its connection is looked up in GOLDPATH_SOURCES when it runs.
        deps: Keys of assets that have to be there first.
        automation: When it materializes by itself.

    The run raises SettingsError where the connection is not set, and what the source raises; a TransientError is tried
    again by Dagster, and what landed before it stays.
    """
    table = contract.table

    def work(run: GovernedRun) -> Iterator[Written]:
        now = run.platform.now()
        done = extract(run.platform, table, source, now=now)
        metadata: dict[str, Any] = {
            "files": done.files,
            "rows": done.rows,
            "bytes": done.bytes,
            "sequence": done.sequence,
        }
        if done.position is not None:
            metadata["position"] = dg.MetadataValue.json(done.position)
        if (newest := done.attributes.get("newest")) is not None:
            metadata["lag_seconds"] = (now - datetime.fromisoformat(newest)).total_seconds()
        if (backlog := done.attributes.get("backlog")) is not None:
            metadata["backlog"] = backlog
        dataset = Dataset(
            f"landing/{table.domain}/{table.table}",
            str(done.sequence),
            contract.owner,
            rows=done.rows,
            bytes=done.bytes,
        )
        yield Written(dataset, metadata)

    declaration = Declaration(
        key=("landing", table.domain, table.table),
        kind="landing",
        owner=contract.owner,
        tags=contract.tags,
        description=f"{contract.purpose}\n\nWhat the source has given since the last delivery. Grain: {contract.grain}",
        kinds=(source.kind,),
        deps=tuple(tuple(dep) for dep in deps),
        freshness=timedelta(seconds=contract.freshness_seconds),
    )
    return declare(declaration, work, automation=automation)


@dataclass(slots=True)
class Extraction:
    """What one run landed, and where the source stands behind it; `attributes` are those of its newest delivery."""

    sequence: int
    position: Mapping[str, Any] | None
    files: int = 0
    rows: int = 0
    bytes: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)


def extract(platform: Platform, table: TableId, source: Source, *, now: datetime) -> Extraction:
    """Lands what a source has behind the newest delivery of a table, each delivery with its manifest.

    Raises:
        SettingsError: if its connection is not set.
    """
    landing, settings = platform.landing, platform.settings
    address = settings.source(source.connection) if source.connection else str(settings.root)
    with _alone(platform, table):
        done = Extraction(*(landing.position(table.domain, table.table) or (0, None)))
        for extracted in source.extract(done.position, connection=address, now=now):
            done.sequence, done.position, done.attributes = done.sequence + 1, extracted.position, extracted.attributes
            manifest = Manifest.of(
                extracted.content,
                rows=extracted.rows,
                sequence=done.sequence,
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
            done.files, done.rows, done.bytes = done.files + 1, done.rows + extracted.rows, done.bytes + manifest.bytes
    return done


@contextmanager
def _alone(platform: Platform, table: TableId) -> Iterator[None]:
    """Holds a source against other extractions on this machine: two at once would both begin at one position."""
    import fcntl

    locks = platform.settings.root / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"landing_{table.domain}_{table.table}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
