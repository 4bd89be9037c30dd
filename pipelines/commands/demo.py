"""`goldpath demo`: from landed files to served predictions on the recorded data of a domain, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from pipelines.commands.invocation import errors_shown, prepared_settings

if TYPE_CHECKING:
    from pipelines.orchestration.demo_story import Demo, LanguageDemo


class DemoCommand(TyperCommand):
    """The command, whose help lists the demos that the domains declare."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        lines = (f"- {name}: {demo.title}{_marks(demo)}" for name, demo in _demos().items())
        self.epilog = "Demos:\n\n" + "\n".join(lines)
        super().format_help(ctx, formatter)


def demo(
    domain: Annotated[
        str | None, typer.Argument(metavar="DOMAIN", help="The domain whose demo runs. [default: the one marked so]")
    ] = None,
    through: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="The last day that lands before the replay. [default: the demo's own]"),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(
            min=1, help="Land this many days, up to that one. [default: all since the first that was recorded]"
        ),
    ] = None,
    engine: Annotated[
        Literal["embedded", "spark"] | None,
        typer.Option(help="The engine that computes tables. [default: GOLDPATH_ENGINE]"),
    ] = None,
    keep_serving: Annotated[
        bool, typer.Option("--keep-serving", help="Keep the service running until Ctrl-C.")
    ] = False,
    language: Annotated[
        bool, typer.Option("--language", help="Fine-tune a language model, from landed texts to a registered model.")
    ] = False,
) -> None:
    """Runs the platform on recorded data of a domain, from landed files to a served prediction and back to its source.

    With --language it runs the demo of a language model: texts, tables, training, registry. It has no days, moves no
    clock and serves nothing.

    It moves the replay clock of its home folder, which keeps it afterwards; other commands there say so.

    Example: `goldpath demo --days 60 --keep-serving`
    """
    import os

    with errors_shown():
        if engine is not None:
            os.environ["GOLDPATH_ENGINE"] = engine
        last = None if through is None else _day(through)
        chosen = _chosen(domain, language=language)
        from pipelines.orchestration.demo_story import Demo

        if isinstance(chosen, Demo):
            settings = prepared_settings()
            from pipelines.demo import run

            run.run(settings, chosen, through=last, days=days, keep_serving=keep_serving)
        else:
            _require_unset({"--through": through, "--days": days, "--keep-serving": keep_serving})
            settings = prepared_settings()
            from pipelines.demo import language as language_demo

            language_demo.run(settings, chosen)


def _require_unset(options: Mapping[str, Any]) -> None:
    """Raises UsageError for an option that the demo of a language model does not have."""
    from pipelines.errors import UsageError

    for name, value in options.items():
        if value:
            raise UsageError(
                object=f"demo {name}",
                observed="given for the demo of a language model",
                expected="a demo that replays days",
                next_step=f"leave {name} out",
            )


def _marks(demo: Demo | LanguageDemo) -> str:
    from pipelines.orchestration.demo_story import Demo

    if not isinstance(demo, Demo):
        return " (--language)"
    return " (default)" if demo.default else ""


def _demos() -> dict[str, Demo | LanguageDemo]:
    """The demos of the domains that load, by domain."""
    from pipelines.definitions import domains

    return {name: found.demo for name, found in domains().items() if found.demo is not None}


def _chosen(domain: str | None, *, language: bool) -> Demo | LanguageDemo:
    """The demo of a domain; without a name the default one, or that of a language model.

    Raises:
        UsageError: if the domain has none, or not one of a language model, or, without a name, not exactly one fits.
        GoldpathError: the error of the domain, if it does not load.
    """
    from pipelines.definitions import broken_domains
    from pipelines.errors import UsageError

    if domain is not None and domain in broken_domains():
        raise broken_domains()[domain]
    mark = "(--language)" if language else "(default)"
    demos = {name: demo for name, demo in _demos().items() if not language or mark in _marks(demo)}
    matching = [name for name, demo in demos.items() if (name == domain if domain else mark in _marks(demo))]
    if len(matching) != 1:
        raise UsageError(
            object=f"demo {domain}" if domain else "demo",
            observed=f"the domain declares no demo{' of a language model' if language else ''}"
            if domain
            else f"{len(matching)} demos are marked as {mark}: {', '.join(matching) or 'none'}",
            expected=f"one of {', '.join(demos) or 'none: no domain declares a demo'}",
            next_step=f"goldpath demo {next(iter(demos), 'DOMAIN')}",
        )
    return demos[matching[0]]


def _day(text: str) -> date:
    """The day that an option gives; raises SettingsError if it is none."""
    from pipelines.errors import SettingsError

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            object="--through", observed=repr(text), expected="a day as YYYY-MM-DD", next_step="write it as 2013-10-31"
        ) from None
