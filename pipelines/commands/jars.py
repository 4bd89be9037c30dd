"""`goldpath jars`: the JARs of the spark engine."""

from __future__ import annotations

import typer

from pipelines.commands.invocation import errors_shown


def jars() -> None:
    """Downloads the two Delta Lake JARs of the spark engine (10 MB). The embedded engine needs none.

    Example: `goldpath jars`
    """
    with errors_shown():
        from pipelines import settings
        from pipelines.engine.jars import fetch_jars

        fetch_jars(settings.get().root, report=typer.echo)
