"""`goldpath features freshness`: how long data takes from durable to readable online."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, plain_table, print_json, say

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

#: What is counted, by the way that data takes.
_COUNTED = {"filled": "deliveries", "pushed": "events"}


def freshness(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain with an online store.")],
    as_json: AsJson = False,
) -> None:
    """Shows how many seconds data took from durable to readable online, by view, against the contract's freshness.

    A delivery counts from its file's last write to landing until the run that filled the store with it; a pushed event
    from the sync of its log until its row is written. Of each view and way the last 200 fillings, or delivered segments
    of events, count.

    Example: `goldpath features freshness shop`
    """
    with errors_shown(), opened_platform() as platform:
        found = _facts(platform, domain)
        if as_json:
            print_json(found)
            return
        numbers = ("count", "p50 s", "p99 s", "worst s", "limit s")
        table = plain_table("view", "counted", *numbers, "in time", right=numbers, no_wrap=["view"])
        for facts in found:
            seconds = (f"{facts[name]:,.3f}" for name in ("p50_seconds", "p99_seconds", "worst_seconds"))
            in_time = "yes" if facts["in_time"] else "NO"
            limit = f"{facts['limit_seconds']:,}"
            table.add_row(facts["view"], facts["counted"], f"{facts['count']:,}", *seconds, limit, in_time)
        if found:
            from pipelines.machine.terminal import Terminal

            Terminal().print(table)
        else:
            say(f"no delivery or event has become readable since the first filling of features/{domain}/online")


def _facts(platform: Platform, domain: str) -> list[dict[str, Any]]:
    """The distribution of each view and way of a domain; raises NotFoundError for one without an online store."""
    from feature_repo.freshness_log import by_view, log, summary
    from feature_repo.state import DomainStore
    from pipelines.commands import feature_facts
    from pipelines.definitions import domains
    from pipelines.errors import NotFoundError

    views = {view.view.stored_name: view for view in feature_facts.views(domains()) if view.domain == domain}
    if not views:
        raise NotFoundError(
            object=f"online store of domain {domain}",
            observed="no domain of this name declares feature views",
            expected=f"one of {', '.join(sorted({view.domain for view in feature_facts.views(domains())})) or 'none'}",
            next_step="use a domain that `goldpath features` lists",
        )
    found = []
    for view, way, measurements in by_view(log(DomainStore(platform.settings, domain))):
        whole = summary(measurements)
        if view in views and whole.p99 is not None:
            limit = views[view].view.contract.freshness_seconds
            found.append(
                {
                    "view": views[view].name,
                    "counted": _COUNTED[way],
                    "count": whole.count,
                    "p50_seconds": whole.p50,
                    "p99_seconds": whole.p99,
                    "worst_seconds": whole.worst,
                    "limit_seconds": limit,
                    "in_time": whole.p99 <= limit,
                    "since": measurements[0].at,
                }
            )
    return found
