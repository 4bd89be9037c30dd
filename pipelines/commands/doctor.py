"""`goldpath doctor`: what this machine has and lacks."""

from __future__ import annotations

import typer

from pipelines.commands.invocation import AsJson, errors_shown, print_json


def doctor(as_json: AsJson = False) -> None:
    """What this machine has and lacks, with what to do about it. Exit code 1 if the demo cannot run.

    Example: `goldpath doctor --json`
    """
    with errors_shown():
        from pipelines import settings
        from pipelines.commands import examination

        answers = examination.examine(settings.get())
        if as_json:
            print_json(examination.as_json(answers))
        else:
            examination.show(answers)
        if not examination.healthy(answers):
            raise typer.Exit(1)
