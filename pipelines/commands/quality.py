"""`goldpath quality`: what the recorded verdicts show."""

from __future__ import annotations

import typer

from pipelines.commands.invocation import errors_shown, prepared_settings

app = typer.Typer(help="How tables held their contracts.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """How tables held their contracts."""


@app.command()
def docs() -> None:
    """Builds Great Expectations' Data Docs from the recorded verdicts, and prints where their first page is.

    Every table has a page of its contract's rules, and one for each of its newest 20 verdicts. They stand as they were
    built until the next time.

    Example: `goldpath quality docs`
    """
    with errors_shown():
        settings = prepared_settings()
        from pipelines.quality.data_docs import data_docs

        typer.echo(data_docs(settings.root / "quality"))
