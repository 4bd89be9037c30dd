"""Finds what is damaged in a home folder, and mends it from what is still there; damaged files stay in `damaged/`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.lakehouse import table_repair
from pipelines.lakehouse.table_log import Damage, Depth, TableLog
from pipelines.lakehouse.table_repair import Mode, Repair
from pipelines.machine import files
from pipelines.medallion.bronze import INGEST
from pipelines.tables import TableId, TableVersion
from pipelines.upkeep import home_files

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


@dataclass(frozen=True, slots=True)
class TableDamage:
    """The damaged files of one table.

    Attributes:
        table: The table.
        damages: Those that its newest version needs; a run of the table fails.
        past: Those that only older versions need, or that readers do without.
    """

    table: TableId
    damages: list[Damage]
    past: list[Damage]


def damaged_tables(platform: Platform, depth: Depth) -> Iterator[TableDamage]:
    """The tables with damaged files."""
    for table in platform.lakehouse.tables():
        log = TableLog(platform.lakehouse.path(table))
        needed = log.damages() or log.data_damages(log.newest, depth)
        past = log.past_damages()
        if needed or past:
            yield TableDamage(table, needed, past)


def repair_table(platform: Platform, table: TableId, *, mode: Mode, depth: Depth) -> Repair:
    """Mends one table, and removes the notes that describe what it was derived from, so that it is derived again."""
    house = platform.lakehouse
    with house.writing(table) if mode == "mend" else nullcontext():
        whole, newest = table_repair.whole_version(house, table, depth)
        lost = _not_landed(platform, table, whole) if whole < newest else []
        notes = _notes(platform, table, whole) if whole < newest else []
        if mode == "mend":  # before the table: a repair that is killed in between finds the table damaged still
            for note in notes:
                files.set_aside(note, root=Path(platform.settings.lakehouse))
        report = table_repair.repair(house, table, mode=mode, depth=depth)
    report.steps += [f"set aside the note {note.name}" for note in notes]
    report.unmended += [f"rows of {uri}: the file is not in landing any more, land it again" for uri in lost]
    return report


def _notes(platform: Platform, table: TableId, whole: int) -> list[Path]:
    """The notes that are no longer right: of the table, of every table if its versions are counted from 0 again."""
    if whole < 0:
        return sorted(platform.note_path(table).parent.glob("*.json"))
    described = TableId("silver", table.domain, table.table) if table.zone == "quarantine" else table
    return [path for path in [platform.note_path(described)] if path.exists()]


def _not_landed(platform: Platform, table: TableId, whole: int) -> list[str]:
    """The deliveries that a bronze table has to take again, and that are gone or changed."""
    if table.zone != "bronze":
        return []
    house, ledger, landing = platform.lakehouse, platform.ledger(table), platform.landing
    committed = house.snapshot(TableVersion(table, whole)).batch(INGEST) if whole >= 0 else -1
    deliveries = [r.delivery for r in ledger.records(fate="batch") if r.batch is not None and r.batch > committed]
    return [d.uri for d in deliveries if landing.now(d) is None or landing.checksum(d) != d.sha256]


def repair_files(platform: Platform, *, mode: Mode) -> Repair:
    """Sets aside the damaged files that are made again, or that nothing can be read from."""
    report = Repair()
    for damage in home_files.damages(platform.settings):
        words = f"{damage.kind.name} {damage.path}: {damage.observed}"
        if not damage.kind.remedy:
            report.unmended.append(words)
            continue
        report.steps.append(f"set aside the {words}; {damage.kind.remedy}")
        if mode == "mend":
            companions = [damage.path.with_name(damage.path.name + end) for end in ("-wal", "-shm", "-journal")]
            for path in (damage.path, *companions):
                if path.exists():
                    files.set_aside(path, root=platform.settings.root)
    return report
