"""`goldpath quality`: pages about the recorded verdicts of tables."""

from __future__ import annotations

import typer

from pipelines.commands.invocation import errors_shown, prepared_settings, say

app = typer.Typer(help="Verdicts of tables against their contracts.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Verdicts of tables against their contracts."""


@app.command()
def docs() -> None:
    """Builds Great Expectations' Data Docs from the recorded verdicts, and prints the path of their first page.

    Every table has a page with its contract's rules, and one for each of its newest 20 verdicts. Later verdicts appear
    when the pages are built again.

    Example: `goldpath quality docs`
    """
    with errors_shown():
        settings = prepared_settings()
        from pipelines.quality.data_docs import data_docs

        say(str(data_docs(settings.root / "quality")))
