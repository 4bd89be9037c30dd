"""The demo of a domain: lands files, fills tables, trains, registers and serves a model, replays days, writes a report.

The recorded days are past, so the demo moves the platform's replay clock: features and outcomes are used only if they
were known at the time that the clock shows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.console import Console

from pipelines import clock
from pipelines.cost import metering
from pipelines.demo import rollouts, windows
from pipelines.demo.jobs import execute
from pipelines.demo.results import DemoResults
from pipelines.governed.platform import Platform
from pipelines.machine import ray_connection
from pipelines.orchestration import dagster_home
from pipelines.orchestration.demo_story import Demo
from pipelines.orchestration.runs import range_tags
from pipelines.settings import Settings

if TYPE_CHECKING:
    import dagster as dg


def run(settings: Settings, demo: Demo, *, through: date | None, days: int | None, keep_serving: bool) -> Path:
    """Runs a demo and returns the path of its report.

    Args:
        settings: The settings, with the home folder to use. A second demo in the same folder adds no rows twice.
        demo: What the domain declares.
        through: The last day that lands before the replay; None for the demo's own.
        days: The number of days that land, `through` included; None begins with the first that was recorded.
        keep_serving: Whether the service runs on until Ctrl-C.

    Raises:
        SettingsError: if the days were not recorded, or are too few.
    """
    through = through or demo.days.through
    start = demo.days.start(through, days, replayed=demo.replay.days)
    console = Console(soft_wrap=True)
    from pipelines.definitions import all_contracts, broken_domains

    platform = Platform(settings, all_contracts, broken_domains)
    results = DemoResults()
    with metering.metering() as usage, ray_connection.connected_beside(settings, imports=_late_imports(demo)):
        try:
            _run_stages(platform, demo, console, results, start, through)
            results.usage = usage
            report = _report(platform, demo, console, results)
            if keep_serving:
                _wait(console, settings, demo)
        finally:
            platform.close()
    return report


def _late_imports(demo: Demo) -> list[str]:
    """The modules that the training and the service take seconds to import."""
    return [demo.model.program.place.partition(":")[0], "serving.predict.rollout"]


def _run_stages(
    platform: Platform, demo: Demo, console: Console, results: DemoResults, start: date, through: date
) -> None:
    """Runs the stages one after the other, and prints what each does."""
    settings, replay = platform.settings, demo.replay
    console.rule(f"[bold]Goldpath: {demo.title}")
    with results.stage(console, "land", f"files of {start} to {through} arrive"):
        clock.move(settings, demo.local(through + timedelta(days=1), 0))
        _land(platform, demo, console, results, start, through)
    with results.stage(console, "whole", "tables, features, training, registry, service"):
        tags = range_tags([start.isoformat(), through.isoformat()])
        for domain in _others(demo):
            execute(platform, console, results, f"{domain}_ingest", tags=tags)
        config = windows.first(demo, start, through)
        execute(platform, console, results, demo.job("whole"), tags=tags, config=config)
    week = [through + timedelta(days=n) for n in range(1, replay.days + 1)]
    tuned = windows.fine_tune(demo, start, through)
    does = "the champion is fine-tuned" if tuned else "tables and features move on"
    with results.stage(
        console, "refresh", f"files of {week[0]} to {week[-1]} arrive, the sensor requests runs, {does}"
    ):
        _land(platform, demo, console, results, week[0], week[-1])
        clock.move(settings, demo.local(week[0], replay.hours[0]))
        for request in _sensor_requests(platform, demo):
            config = tuned if request.job_name == demo.job("refresh") else None
            execute(platform, console, results, str(request.job_name), tags=dict(request.tags), config=config)
    with results.stage(console, "replay", f"the service is asked about {replay.subjects} of these days beforehand"):
        _replay(platform, demo, console, results, week)
    if demo.rollout is not None:
        what = "the newest version takes over by evidence; then a spoiled one is started, and goes back"
        with results.stage(console, "rollout", what):
            rollouts.roll_out(platform, demo, console, results)
    with results.stage(console, "outcomes", "what came is known: predictions are compared with outcomes"):
        clock.move(settings, demo.local(week[-1] + timedelta(days=replay.outcome_days + 1), 0))
        execute(platform, console, results, demo.job("outcomes"))


def _others(demo: Demo) -> list[str]:
    """The domains whose tables the demo's domain reads."""
    return [domain for domain in demo.deliveries if domain != demo.domain.name]


def _land(platform: Platform, demo: Demo, console: Console, results: DemoResults, first: date, last: date) -> None:
    """Lands what the sources of all domains of the demo deliver for some local days."""
    for domain, land in demo.deliveries.items():
        landed = land(platform, first, last)
        results.landed.append((domain, landed))
        console.print(f"  {domain:12s} {landed.files:5,} files {landed.rows:9,} rows {landed.bytes / 2**20:7.1f} MiB")


def _sensor_requests(platform: Platform, demo: Demo) -> list[dg.RunRequest]:
    """The runs that the sensors for new deliveries request now, those of the domains that are read first."""
    import dagster as dg

    from pipelines.definitions import defs

    with dagster_home.instance(platform.settings) as instance:
        context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
        found: list[Any] = [
            result
            for domain in demo.deliveries
            for result in defs.resolve_sensor_def(f"{domain}_new_deliveries")(context)  # ty: ignore
        ]
        return [result for result in found if isinstance(result, dg.RunRequest)]


def _replay(platform: Platform, demo: Demo, console: Console, results: DemoResults, days: Sequence[date]) -> None:
    """At each instant of the replay: moves the clock, runs the jobs, and asks the service about what comes next."""
    from serving.predict import client

    replay, zone = demo.replay, ZoneInfo(demo.domain.timezone)
    instants = [demo.local(day, hour) for day in days for hour in replay.hours]
    for number, instant in enumerate(instants, start=1):
        clock.move(platform.settings, instant)
        for stage in replay.stages:
            execute(platform, console, results, demo.job(stage), quiet=True)
        if questions := replay.questions(instant):
            answers = client.ask_together(platform.settings, demo.model.registered_name, questions)
            results.answers += answers
            console.print(
                f"  {number:2d}/{len(instants)} {instant.astimezone(zone):%a %d %b %H:%M}  "
                f"{len(answers):3d} {replay.subjects} predicted{_said(answers, replay.answer)}"
            )


def _said(answers: Sequence[dict[str, Any]], field: str) -> str:
    """What the answers to the questions of one instant say: how many of each decision, or the range of the values."""
    decisions = Counter(str(answer["decision"]) for answer in answers if "decision" in answer)
    if decisions:
        return ": " + ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
    values = [answer[field] for answer in answers]
    numeric = all(isinstance(value, int | float) for value in values)
    return f": {min(values):.1f} to {max(values):.1f}" if numeric else ""


def _report(platform: Platform, demo: Demo, console: Console, results: DemoResults) -> Path:
    """Writes and prints the report; returns the path of its page."""
    from pipelines.demo import figures, report

    with results.stage(console, "report", "all figures on one page"):
        collected = figures.collect(platform, demo, results)
        path = report.write(platform.settings.root / "demo", collected)
    report.show(console, collected, path)
    return path


def _wait(console: Console, settings: Settings, demo: Demo) -> None:
    """Prints the address of the service and waits for Ctrl-C."""
    from serving.predict import client

    console.print(f"\nServing at {client.url(settings, demo.model.registered_name)} until Ctrl-C.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping.")
