"""`goldpath repair`: mends damaged files of the home folder from what is still there."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.invocation import AsJson, errors_shown, print_json, say


def repair(
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ZONE/DOMAIN/TABLE]...", help="Only these tables. [default: the whole home]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every value of the tables to find damage.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mends what `goldpath doctor` finds damaged. Nothing is deleted: damaged files are moved to `damaged/`.

    A table goes back to its last whole version, and the next run takes its deliveries or derives it again. Exit code 1
    if something could not be mended.

    Example: `goldpath repair --dry-run`
    """
    with errors_shown():
        from pipelines.definitions import shared_platform
        from pipelines.tables import TableId
        from pipelines.upkeep import home_repair

        platform, mode = shared_platform(), "plan" if dry_run else "mend"
        depth = "contents" if deep else "ends"
        reports = {} if tables else {"home": home_repair.repair_files(platform, mode=mode)}
        named = [TableId.parse(name) for name in tables or []]
        for table in named or platform.lakehouse.tables():
            reports[str(table)] = home_repair.repair_table(platform, table, mode=mode, depth=depth)
        reports = {name: report for name, report in reports.items() if report.steps or report.unmended}
        if as_json:
            print_json({name: {"steps": r.steps, "unmended": r.unmended} for name, r in reports.items()})
        else:
            for name, report in reports.items():
                for step in report.steps:
                    say(f"{name}: {'would ' if dry_run else ''}{step}")
                for words in report.unmended:
                    say(f"{name}: not mended: {words}")
            mended = [name for name, report in reports.items() if report.steps and name != "home"]
            say(f"then: goldpath materialize {' '.join(mended)}" if mended else "nothing else to do")
        if any(report.unmended for report in reports.values()):
            raise typer.Exit(1)
