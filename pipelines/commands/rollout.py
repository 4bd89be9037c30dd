"""`goldpath rollout`: how a new version takes over a service, by evidence, and what people say to that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import (
    AsJson,
    errors_shown,
    opened_platform,
    plain_table,
    prepared_settings,
    print_json,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.models.service import ServiceSpec
    from pipelines.rollout.state import State
    from pipelines.settings import Settings

#: How often `watch` reads the rollout's files, in seconds.
WATCH_SECONDS = 1.0

app = typer.Typer(
    name="rollout",
    help="How a new version takes over a service: by evidence, stage by stage, or back.",
    no_args_is_help=True,
)
#: What `watch` exits with where the version was sent back: no error of the command itself, which is 1.
SENT_BACK = 3
Name = Annotated[str, typer.Argument(metavar="MODEL", help="A model, as domain.name.")]
Version = Annotated[int, typer.Argument(metavar="VERSION", help="The version that is to take over.")]
Because = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why, for people who read it later.")]


@app.command("start")
def start(name: Name, version: Version, because: Because) -> None:
    """Begins the rollout of a version beside the champion, by the plan that the model declares.

    Example: `goldpath rollout start shop.returns 4 --because "fewer false alarms"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.rollout import control

        spec = _spec(name)
        _moved(platform.settings, spec, control.start(platform.settings, spec, version, because=because))


@app.command("status")
def status(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="A model. [default: all]")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows the newest rollout of a model or of all: stage, share, answers, figures, and what it waits for.

    Example: `goldpath rollout status shop.returns`
    """
    with errors_shown():
        settings = prepared_settings()
        from pipelines.rollout import report, state

        newest = [_rollout(settings, each, None) for each in ([name] if name else state.services(settings))]
        found = [report.describe(settings, present) for present in newest]
        if as_json:
            print_json(found)
            return
        for number, each in enumerate(found):
            if number:
                say("")
            _show(each, figures=name is not None)
        if not found:
            say('no service has had a rollout; goldpath rollout start MODEL VERSION --because "…" begins one')


@app.command("watch")
def watch(name: Name) -> None:
    """Shows the rollout of a model until it ends; 0 if the version was promoted, 3 if it was sent back. Moves nothing.

    Example: `goldpath rollout watch shop.returns`
    """
    with errors_shown():
        settings = prepared_settings()
        from pipelines.machine.terminal import Terminal

        present = _rollout(settings, name, None)
        console = Terminal(highlight=False)
        present = _live(settings, present, console) if console.is_terminal else _followed(settings, present)
        raise typer.Exit(0 if present.status == "promoted" else SENT_BACK)


@app.command("pause")
def pause(name: Name, because: Because) -> None:
    """Keeps the share as it is until you go on. A guard that breaks still sends the version back.

    Example: `goldpath rollout pause shop.returns --because "release day"`
    """
    with errors_shown():
        settings = prepared_settings()
        from pipelines.rollout import control

        say(str(control.pause(settings, name, because=because)))
        say(f'next: goldpath rollout resume {name} --because "…"')


@app.command("resume")
def resume(name: Name, because: Because) -> None:
    """Goes on with a paused rollout; a stage whose longest time has passed gets its time again.

    Example: `goldpath rollout resume shop.returns --because "release is out"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.rollout import control

        _moved(platform.settings, _spec(name), control.resume(platform.settings, name, because=because))


@app.command("promote")
def promote(
    name: Name,
    because: Because,
    full: Annotated[bool, typer.Option("--full", help="End all stages: the version becomes the champion.")] = False,
) -> None:
    """Ends the present stage well without waiting for its evidence; after the last one the version is the champion.

    Example: `goldpath rollout promote shop.returns --because "read 50 answers"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.rollout import control

        moved = control.promote(platform.settings, name, because=because, full=full)
        _moved(platform.settings, _spec(name), moved)


@app.command("abort")
def abort(name: Name, because: Because) -> None:
    """Sends the version back: when this returns, it answers no question. Only a person starts it again.

    Example: `goldpath rollout abort shop.returns --because "wrong prices"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.rollout import control

        moved = control.abort(platform.settings, name, because=because)
        say(f"the serving version answers every question of {name}")
        _moved(platform.settings, _spec(name), moved)


@app.command("history")
def history(
    name: Name,
    rollout: Annotated[str | None, typer.Option(metavar="ID", help="One rollout. [default: the newest]")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows each step of a rollout: when, what, who, why, and the figures; and the ids of the model's rollouts.

    Example: `goldpath rollout history shop.returns --json`
    """
    with errors_shown():
        settings = prepared_settings()
        from pipelines.rollout import report, state

        present, all_of_it = _rollout(settings, name, rollout), state.every(settings, name)
        if as_json:
            steps = state.history(settings, present)
            print_json(report.describe(settings, present) | {"plan": _plan(present), "steps": steps})
            return
        say(f"rollout {present.rollout}: {present}")
        for step in report.steps(settings, present):
            stage = present.plan.stages[step["stage"]].name
            say(f"{step['at'][:19]} UTC  {step['what']}, stage {stage}, by {step['by']}: {step['because']}")
            _print_figures([figure for figure in step["figures"] if not figure["value"] or figure["broken"]])
        for other in all_of_it:
            if other.rollout != present.rollout:
                say(f"another: {other.rollout}, {other}")


def _moved(settings: Settings, spec: ServiceSpec, present: State) -> None:
    """Says where a rollout stands after a person's word, and sees to it that it goes on."""
    say(str(present))
    spec.runtime.load_arms().watch(settings, spec)
    say(f"next: goldpath rollout watch {spec.name}")


def _spec(name: str) -> ServiceSpec:
    """The service of a model; raises NotFoundError."""
    from pipelines.definitions import model_services
    from pipelines.errors import NotFoundError

    specs = model_services()
    if name not in specs:
        raise NotFoundError(
            object=f"service of model {name}",
            observed="no domain that loads declares it",
            expected=f"one of {', '.join(sorted(specs)) or 'none: no service is declared'}",
            next_step="goldpath model list; where a warning names a domain that does not load, correct that first",
        )
    return specs[name]


def _rollout(settings: Settings, name: str, rollout: str | None) -> State:
    """The rollout with an id, or its beginning; None for the newest. Raises NotFoundError."""
    from pipelines.errors import NotFoundError
    from pipelines.rollout import state

    found = [each for each in state.every(settings, name) if each.rollout.startswith(rollout or "")]
    if not found:
        raise NotFoundError(
            object=f"rollout {rollout} of {name}" if rollout else f"rollout of {name}",
            observed="there is none of this id" if rollout else "it never had one",
            expected="an id that the model's history names"
            if rollout
            else f"a model that had one: {', '.join(state.services(settings)) or 'none so far'}",
            next_step=f"goldpath rollout history {name}"
            if rollout
            else "goldpath model list shows the models; goldpath rollout start begins one",
        )
    return found[-1]


def _plan(present: State) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(present.plan)


def _show(found: Mapping[str, Any], *, figures: bool = True) -> None:
    from pipelines.rollout import report

    for line in report.words(found):
        say(line)
    if figures:
        _print_figures(found["figures"])


def _print_figures(figures: list[Mapping[str, Any]]) -> None:
    if figures:
        from pipelines.machine.terminal import Terminal

        Terminal(highlight=False).print(_table(figures))
        _say_left_out(figures)


def _table(figures: list[Mapping[str, Any]]) -> Any:
    from pipelines.rollout import report

    names = ("guard", "serving", "candidate", "bounds", "limit", "answers")
    table = plain_table(*names, right=names[1:])
    for row in report.rows(figures)[: report.SHOWN_FIGURES]:
        table.add_row(*(row[name] for name in names))
    return table


def _say_left_out(figures: list[Mapping[str, Any]]) -> None:
    from pipelines.rollout import report

    if len(figures) > report.SHOWN_FIGURES:
        say(f"{report.SHOWN_FIGURES} of {len(figures)} figures; --json has all")


def _live(settings: Settings, present: State, console: Any) -> State:
    """Shows a rollout in place until it ends; returns how it ended."""
    from rich.console import Group
    from rich.live import Live

    from pipelines.rollout import report

    with Live(console=console, auto_refresh=False) as live:
        while True:
            present = _rollout(settings, present.service, present.rollout)
            found = report.describe(settings, present)
            live.update(Group(*report.words(found), _table(found["figures"])), refresh=True)
            if present.ended:
                return present
            time.sleep(WATCH_SECONDS)


def _followed(settings: Settings, present: State) -> State:
    """Prints a rollout each time that its stage, its share or its status changes; returns how it ended."""
    from pipelines.rollout import report

    seen = None
    while True:
        present = _rollout(settings, present.service, present.rollout)
        found = report.describe(settings, present)
        facts = (present.status, present.stage, present.share, found["unwatched_seconds"] is None)
        if facts != seen:
            _show(found)
            seen = facts
        if present.ended:
            return present
        time.sleep(WATCH_SECONDS)
