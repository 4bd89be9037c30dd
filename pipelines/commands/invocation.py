"""What every `goldpath` command shares: errors as short panels, the settings, the platform opened and closed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipelines.errors import GoldpathError
    from pipelines.governed.platform import Platform
    from pipelines.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@dataclass(slots=True)
class Invocation:
    """What holds for the whole invocation; `debug` shows the stack of an error."""

    debug: bool = False


invocation = Invocation()


@contextlib.contextmanager
def errors_shown() -> Iterator[None]:
    """Prints one of our errors as a short panel and exits with 1; `--debug` lets it through."""
    from pipelines.errors import GoldpathError

    try:
        yield
    except GoldpathError as error:
        if invocation.debug:
            raise
        _show_error(error)
        raise typer.Exit(1) from None


def _show_error(error: GoldpathError) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 2))
    console = Console(stderr=True)
    title = f"{type(error).__name__}: {error.object}"
    if len(title) > console.width - 6:  # it would be cut, and its end is the place
        title = type(error).__name__
        rows.add_row(Text("object", style="dim"), Text(error.object))
    for name, value in (("observed", error.observed), ("expected", error.expected), ("next", error.next_step)):
        rows.add_row(Text(name, style="dim"), Text(value))
    console.print(Panel(rows, title=Text(title, style="bold"), title_align="left", border_style="red"))


def prepared_settings() -> Settings:
    """The settings, and the environment that follows from them: quiet libraries, Dagster's home, Ray's token."""
    from pipelines import settings
    from pipelines.machine import ray_environment
    from pipelines.orchestration import dagster_home

    found = settings.get()
    dagster_home.prepare(found)
    ray_environment.prepare_environment(found)
    return found


@contextlib.contextmanager
def opened_platform() -> Iterator[Platform]:
    prepared_settings()
    from pipelines.definitions import shared_platform

    platform = shared_platform()
    try:
        yield platform
    finally:
        platform.close()


def print_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))
