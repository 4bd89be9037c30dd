"""`goldpath` with all its commands. Each command imports what it needs when it runs, so that help needs no library."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from pipelines.commands import (
    contracts,
    cost,
    features,
    landing,
    lineage,
    model,
    new,
    quality,
    quarantine,
    rollout,
    tables,
)
from pipelines.commands.demo import DemoCommand, demo
from pipelines.commands.dev import dev
from pipelines.commands.doctor import doctor
from pipelines.commands.follow import follow
from pipelines.commands.invocation import invocation
from pipelines.commands.jars import jars
from pipelines.commands.materialize import materialize
from pipelines.commands.push import push
from pipelines.commands.rebuild import rebuild
from pipelines.commands.repair import repair
from pipelines.machine import garbage

app = typer.Typer(
    name="goldpath",
    help="An open AI factory: governed runs from landed files to served predictions.",
    epilog="Start with: goldpath doctor, then: goldpath demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, group in {
    "contracts": contracts.app,
    "features": features.app,
    "lineage": lineage.app,
    "new": new.app,
    "cost": cost.app,
    "landing": landing.app,
    "model": model.app,
    "rollout": rollout.app,
    "quarantine": quarantine.app,
    "quality": quality.app,
    "tables": tables.app,
}.items():
    app.add_typer(group, name=name)
app.command(cls=DemoCommand)(demo)
for command in (dev, doctor, repair, materialize, follow, rebuild, push, jars):
    app.command()(command)


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.")] = False,
) -> None:
    garbage.collect_seldom()
    invocation.debug = debug
    if not debug:  # the warnings of libraries are for their developers; some libraries switch them on for a process
        logging.captureWarnings(capture=True)
        logging.getLogger("py.warnings").addHandler(logging.NullHandler())
        logging.getLogger("py.warnings").propagate = False
