"""The parts that all `goldpath` commands share: settings, platform, and how errors, tables and JSON are printed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.table import Table

    from pipelines.governed.platform import Platform
    from pipelines.settings import Settings

#: The longest text that an error shows of one fact: engines put whole plans and stacks into their messages.
MOST_CHARACTERS = 1_500
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@dataclass(slots=True)
class Invocation:
    """The options of `goldpath` itself; with `debug`, an error is shown with its stack trace."""

    debug: bool = False


invocation = Invocation()


@contextlib.contextmanager
def errors_shown() -> Iterator[None]:
    """Prints an error as a short panel and ends the command; with `--debug`, lets it pass.

    Of an error that a full disk, a read-only home folder or a damaged database caused, it names that cause.

    The exit code is 1, for a UsageError 2, and for Ctrl-C 130, as the shell has it.
    """
    from pipelines.errors import GoldpathError, UsageError

    try:
        yield
    except GoldpathError as error:
        if invocation.debug:
            raise
        show_error(type(error).__name__, {**error.facts(), "notes": "\n".join(getattr(error, "__notes__", ()))})
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
    except KeyboardInterrupt:
        if invocation.debug:
            raise
        say("Interrupted. What was published stays; the same command goes on from there.", err=True)
        raise typer.Exit(130) from None
    except (typer.Exit, typer.Abort, SystemExit):
        raise
    except BrokenPipeError:  # who read the output has ended, as `head` does: the command ends without words
        raise
    except Exception as error:
        if invocation.debug:
            raise
        from traceback import extract_tb

        from pipelines import settings
        from pipelines.commands import storage_errors

        if named := storage_errors.named(error, settings.get()):
            show_error(type(named).__name__, named.facts())
            raise typer.Exit(1) from None
        frames = [(frame.filename, frame.lineno or 0) for frame in extract_tb(error.__traceback__)]
        show_error(type(error).__name__, unexpected(str(error), frames))
        raise typer.Exit(1) from None


def unexpected(message: str, frames: Sequence[tuple[str, int]]) -> dict[str, str]:
    """What an error that is not Goldpath's is shown as.

    Args:
        message: Its text.
        frames: The file and the line of each frame of its stack, outermost first.
    """
    from pipelines.settings import PROJECT

    where = "a library"
    for name, line in frames:
        path = Path(name)
        if path.is_relative_to(PROJECT) and "site-packages" not in path.parts:
            where = f"{path.relative_to(PROJECT)}, line {line}"
    words = " ".join(sys.argv[1:])
    return {"object": where, "observed": message or "no message", "next": f"goldpath --debug {words} shows the stack"}


def show_error(kind: str, facts: Mapping[str, str]) -> None:
    """Prints an error as a panel on stderr that fits a screen; facts without text are left out."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from pipelines.machine.terminal import Terminal, printable

    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(overflow="fold")  # the end of a path is not cut off
    console = Terminal(stderr=True, highlight=False)
    title = printable(f"{kind}: {facts['object']}")
    shown = dict(facts)
    if len(title) > console.width - 6:  # the panel would cut off its end, which often names the place
        title = kind
    else:
        del shown["object"]
    for name, value in shown.items():
        if value:
            rows.add_row(name, value if len(value) <= MOST_CHARACTERS else f"{value[:MOST_CHARACTERS]} …")
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
    from pipelines import clock
    from pipelines.definitions import broken_domains, shared_platform

    platform = shared_platform()
    for name, error in broken_domains().items():
        say(f"warning: the domain {name} does not load, and its assets are left out: {error}", err=True)
    if replay := clock.replay(platform.settings):
        say(f"note: {replay}", err=True)
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
