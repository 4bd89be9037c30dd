"""`goldpath doctor`: checks whether this machine can run the platform."""

from __future__ import annotations

import typer

from pipelines.commands.invocation import AsJson, errors_shown, print_json


def doctor(as_json: AsJson = False) -> None:
    """Checks this machine and prints what to do about each problem. Exit code 1 if the demo cannot run.

    Example: `goldpath doctor --json`
    """
    with errors_shown():
        from dataclasses import asdict

        from pipelines import settings
        from pipelines.commands import doctor_checks

        results = doctor_checks.check(settings.get())
        if as_json:
            print_json([asdict(result) for result in results])
        else:
            doctor_checks.show(results)
        if not doctor_checks.healthy(results):
            raise typer.Exit(1)
