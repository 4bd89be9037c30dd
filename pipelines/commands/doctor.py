"""`goldpath doctor`: checks whether this machine can run the platform."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.invocation import AsJson, errors_shown, print_json


def doctor(
    as_json: AsJson = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every value of the tables, too.")] = False,
) -> None:
    """Checks this machine and the home folder, and prints what to do about each problem. Exit code 1 if one is serious.

    Example: `goldpath doctor --json`
    """
    with errors_shown():
        from dataclasses import asdict

        from pipelines import settings
        from pipelines.commands import doctor_checks, home_checks

        results = doctor_checks.check(settings.get())
        results += home_checks.check(settings.get(), "contents" if deep else "ends")
        results += home_checks.undeclared_tables(settings.get())
        results += home_checks.raised_classes(settings.get())
        if as_json:
            print_json([asdict(result) for result in results])
        else:
            doctor_checks.show(results)
        if not doctor_checks.healthy(results):
            raise typer.Exit(1)
