"""`goldpath demo`: from landed files to served predictions on real flights, in this process."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import typer

from pipelines.commands.invocation import errors_shown, prepared_settings


def demo(
    through: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="The last day that lands before the replayed week.")
    ] = "2013-10-31",
    days: Annotated[
        int | None, typer.Option(min=1, help="Land this many days, up to that one. [default: all since 1 January]")
    ] = None,
    engine: Annotated[
        Literal["embedded", "spark"] | None,
        typer.Option(help="The engine that computes tables. [default: GOLDPATH_ENGINE]"),
    ] = None,
    keep_serving: Annotated[
        bool, typer.Option("--keep-serving", help="Keep the service running until Ctrl-C.")
    ] = False,
) -> None:
    """Runs the platform on a year of real flights, from landed files to a served prediction and back to its source row.

    Example: `goldpath demo --days 60 --keep-serving`
    """
    import os

    with errors_shown():
        if engine is not None:
            os.environ["GOLDPATH_ENGINE"] = engine
        settings = prepared_settings()
        from pipelines.demo.run import run

        run(settings, through=_day(through), days=days, keep_serving=keep_serving)


def _day(text: str) -> date:
    """The day that an option gives; raises SettingsError if it is none."""
    from pipelines.errors import SettingsError

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            object="--through", observed=repr(text), expected="a day as YYYY-MM-DD", next_step="write it as 2013-10-31"
        ) from None
