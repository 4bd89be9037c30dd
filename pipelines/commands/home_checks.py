"""The checks of `goldpath doctor` that read the home folder: every file in it, and who may read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.commands.doctor_checks import CheckResult
from pipelines.errors import GoldpathError
from pipelines.machine import files

if TYPE_CHECKING:
    from pipelines.lakehouse.table_log import Depth
    from pipelines.settings import Settings

REPAIR = "goldpath repair (with --dry-run it only says what it would do)"


def check(settings: Settings, depth: Depth) -> list[CheckResult]:
    """Runs every check; a home folder that does not exist yet has none."""
    if not settings.root.is_dir():
        return []
    return [*_rights(settings), *_files(settings), *_tables(settings, depth)]


def _rights(settings: Settings) -> Iterator[CheckResult]:
    mode = settings.root.stat().st_mode & 0o777
    if mode & files.PRIVATE:
        advice = f"chmod -R go= {settings.root}"
        yield CheckResult("home rights", "warn", f"other accounts have rights on it: {mode:o}", advice)
    else:
        yield CheckResult("home rights", "ok", "its owner's alone")


def _files(settings: Settings) -> Iterator[CheckResult]:
    from pipelines.upkeep import home_files

    walked = list(home_files.walk(settings.root))
    damages = list(home_files.damages(settings))
    for damage in damages:
        observed = f"{damage.path}: {damage.observed}"
        if damage.kind.remedy:
            yield CheckResult(damage.kind.name, "fail", observed, f"{REPAIR}; then {damage.kind.remedy}")
        else:
            yield CheckResult(
                damage.kind.name, "warn", observed, "the rest of it is read; put back a backup if it counts"
            )
    unknown = [path for path, kind in walked if kind is None]
    if unknown:
        observed = f"{len(unknown)} that Goldpath does not write, such as {unknown[0]}"
        yield CheckResult("other files", "warn", observed, "move them out of the home folder")
    aside = home_files.set_aside(settings)
    if aside:
        observed = f"{len(aside)} of earlier repairs, such as {aside[0]}"
        yield CheckResult("damaged files", "warn", observed, "remove them once you need nothing of them any more")
    if not damages:
        yield CheckResult("home files", "ok", f"{len(walked)} checked")


def _tables(settings: Settings, depth: Depth) -> Iterator[CheckResult]:
    from pipelines.governed.platform import Platform
    from pipelines.upkeep import home_repair

    try:
        platform = Platform(settings, dict)
        tables = platform.lakehouse.tables()
        damaged = list(home_repair.damaged_tables(platform, depth))
    except GoldpathError as error:
        yield CheckResult("tables", "fail", f"{error.object}: {error.observed}", error.next_step)
        return
    for table in damaged:
        for damage in table.damages:
            observed = f"{damage.path}: {damage.observed}"
            yield CheckResult(f"table {table.table}", "fail", observed, f"goldpath repair {table.table}")
        for damage in table.past:
            observed = f"{damage.path}: {damage.observed}; the newest version does not need it"
            yield CheckResult(f"table {table.table}", "warn", observed, "nothing, if no older version is needed")
    if not any(table.damages for table in damaged):
        how = "every value" if depth == "contents" else "logs and sizes; --deep reads every value"
        yield CheckResult("tables", "ok", f"{len(tables)} whole ({how})")


def undeclared_tables(settings: Settings) -> Iterator[CheckResult]:
    """Tables of a domain that was removed, or of a contract that was: nothing writes them, and no retention applies."""
    from pipelines.definitions import all_contracts, broken_domains
    from pipelines.governed.platform import Platform

    tables = Platform(settings, dict).lakehouse.tables() if settings.root.is_dir() else []

    declared = {(table.domain, table.table) for table in all_contracts()}
    left = [
        table for table in sorted(tables)
        if table.zone != "ops" and table not in all_contracts() and table.domain not in broken_domains()
        and not (table.zone == "quarantine" and (table.domain, table.table) in declared)
    ]  # fmt: skip
    for domain in sorted({table.domain for table in left}):
        names = [str(table) for table in left if table.domain == domain]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        observed = f"{', '.join(names[:5])}{more}: no contract declares them: nothing writes them or removes old rows"
        advice = f"restore the contracts in assets/{domain}; or remove the tables' folders below {settings.lakehouse}"
        yield CheckResult(f"tables of {domain}", "warn", observed, advice)


def raised_classes(settings: Settings) -> Iterator[CheckResult]:
    """Tables that were computed before a class of their inputs was raised, and are read with the lower class."""
    from pipelines.definitions import all_contracts
    from pipelines.governed.platform import Platform
    from pipelines.lineage.events import LineageLog
    from pipelines.provenance import column_sources

    if not settings.root.is_dir():
        return
    platform = Platform(settings, all_contracts)
    for table, error in column_sources.raised_classes(platform, LineageLog(settings).events()):
        advice = f"{error.next_step}; then goldpath materialize {table}"
        yield CheckResult(f"data class of {table}", "fail", error.observed, advice)
