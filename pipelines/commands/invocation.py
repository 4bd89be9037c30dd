"""The parts that all `goldpath` commands share: settings, platform, and how errors, tables and JSON are printed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.table import Table

    from pipelines.errors import GoldpathError
    from pipelines.governed.platform import Platform
    from pipelines.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@dataclass(slots=True)
class Invocation:
    """The options of `goldpath` itself; with `debug`, an error is shown with its stack trace."""

    debug: bool = False


invocation = Invocation()


@contextlib.contextmanager
def errors_shown() -> Iterator[None]:
    """Prints a GoldpathError as a short panel and exits with code 1; with `--debug`, lets it pass."""
    from pipelines.errors import GoldpathError

    try:
        yield
    except GoldpathError as error:
        if invocation.debug:
            raise
        _show_error(error)
        raise typer.Exit(1) from None


def _show_error(error: GoldpathError) -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from pipelines.machine.terminal import Terminal, printable

    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    console = Terminal(stderr=True, highlight=False)
    title = printable(f"{type(error).__name__}: {error.object}")
    if len(title) > console.width - 6:  # the panel would cut off its end, which often names the place
        title = type(error).__name__
        rows.add_row("object", error.object)
    for name, value in (("observed", error.observed), ("expected", error.expected), ("next", error.next_step)):
        rows.add_row(name, value)
    console.print(Panel(rows, title=Text(title, style="bold"), title_align="left", border_style="red"))


def prepared_settings() -> Settings:
    """The settings, after Dagster's home folder and the environment variables of Dagster and Ray are set by them.

    What this process and its children create from then on only its owner may read.
    """
    from pipelines import settings
    from pipelines.machine import files, ray_environment
    from pipelines.orchestration import dagster_home

    current = settings.get()
    files.write_privately()
    dagster_home.prepare(current)
    ray_environment.prepare_environment(current)
    return current


@contextlib.contextmanager
def opened_platform() -> Iterator[Platform]:
    """The platform of this process, closed at the end; calls `prepared_settings` first."""
    prepared_settings()
    from pipelines.definitions import shared_platform

    platform = shared_platform()
    try:
        yield platform
    finally:
        platform.close()


def say(text: str, *, err: bool = False) -> None:
    """Prints a text; names and messages from outside in it have no power over the terminal."""
    from pipelines.machine.terminal import printable

    typer.echo(printable(text), err=err)


def print_json(value: Any) -> None:
    """Prints a value as JSON; values that JSON lacks, such as times, as their text."""
    import json

    text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
    # A name that is no text holds halves of characters, which cannot be printed.
    typer.echo(text.encode("utf-8", "backslashreplace").decode())


def plain_table(*columns: str, right: Collection[str] = (), no_wrap: Collection[str] = ()) -> Table:
    """An empty table without lines, to be filled and printed by a `rich` console.

    Args:
        columns: The titles of the columns.
        right: The titles of right-aligned columns.
        no_wrap: The titles of columns whose text is not wrapped.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=column in no_wrap, overflow="fold")
    return table
