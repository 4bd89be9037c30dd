"""`goldpath follow`: tables and online features that stay seconds behind what lands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.invocation import errors_shown, opened_platform, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.orchestration.members import Members

LONGEST_PAUSE_SECONDS = 600.0


def follow(
    domains: Annotated[
        list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="The domains. [default: all]")
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look for new files.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Take what has landed, and end.")] = False,
) -> None:
    """Takes each new delivery as it lands, up to tables and online features, until Ctrl-C. Trains and deploys nothing.

    One governed run after another in this process: seconds from landing to online. A domain's sensor, which starts a
    process for each run, takes about a minute. What a run did not take is tried again after a pause that doubles, up to
    10 minutes, or when further files land. Start it again after a change of the code.

    Example: `goldpath follow shop`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands.materialize import run_shown
        from pipelines.definitions import defs
        from pipelines.orchestration import dagster_home
        from pipelines.orchestration.following import next_batch
        from pipelines.retrying import Backoff

        followed = _followed(domains or [])
        job = defs.resolve_implicit_global_asset_job_def()
        pause = Backoff(first_seconds=5.0, longest_seconds=LONGEST_PAUSE_SECONDS)
        asked, times, again_at = "", 0, 0.0
        say(f"following {', '.join(found.domain.name for found in followed)}; Ctrl-C ends it")
        with dagster_home.instance_of_a_guest(platform.settings) as instance:
            while True:
                batch = next_batch(platform, followed)
                if batch is not None and (batch.key != asked or time.monotonic() >= again_at):
                    started = time.monotonic()
                    succeeded = run_shown(job, instance, batch.assets, batch.tags, quiet=True)
                    seconds = time.monotonic() - started
                    say(f"{time.strftime('%H:%M:%S')} {'took' if succeeded else 'FAILED'} {batch} ({seconds:.1f} s)")
                    times = times + 1 if batch.key == asked else 1
                    asked, again_at = batch.key, time.monotonic() + pause.highest(times)
                    if once and not succeeded:
                        raise typer.Exit(1)
                elif once:
                    if batch is not None:
                        say(f"the run left {batch}; its checks say why: goldpath landing list", err=True)
                        raise typer.Exit(1)
                    return
                else:
                    time.sleep(every)


def _followed(names: Sequence[str]) -> list[Members]:
    """The domains of these names, or all; raises UsageError for one that there is not."""
    from pipelines.definitions import broken_domains, domains
    from pipelines.errors import UsageError

    known = domains()
    for name in names:
        if name in broken_domains():
            raise broken_domains()[name]
        if name not in known:
            raise UsageError(
                object=f"domain {name}",
                observed="there is no such domain",
                expected=f"one of {', '.join(sorted(known))}",
                next_step="correct the name, or make the domain: goldpath new domain",
            )
    return [known[name] for name in sorted({*names} or known)]
