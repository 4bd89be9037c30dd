"""The whole road in one command: land, ingest, train, register, deploy, then live through a week and report.

The data is of 2013, so the demo moves the platform's replay clock: features are known, and outcomes count, only as far
as the clock has come.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.console import Console

from pipelines import clock
from pipelines.cost import metering
from pipelines.demo.story import Story
from pipelines.errors import SettingsError
from pipelines.governed.platform import Platform
from pipelines.orchestration.jobs import FINE_TUNE
from pipelines.orchestration.runs import QUIET_LOG, range_tags
from pipelines.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

LOCAL = ZoneInfo("America/New_York")
FIRST_DAY, LAST_DAY = date(2013, 1, 1), date(2013, 12, 31)
#: With fewer, the model seldom beats its baseline, and the gate lets nothing through to be served.
MINIMUM_DAYS = 60
#: Its first half fine-tunes, its second half decides.
MINIMUM_GATE_DAYS = 14
REPLAY_DAYS = 7
#: Local hours at which the service is asked about the flights that leave two to three hours later.
REPLAY_HOURS = (5, 12, 17)
HORIZON = timedelta(hours=2)
ASKED_WINDOW = timedelta(hours=1)


def run(settings: Settings, *, through: date, days: int | None, keep_serving: bool) -> Path:
    """Runs the demo and returns the path of its report.

    Args:
        settings: Of the home folder to use; running again there doubles nothing.
        through: The last day that lands before the replayed week.
        days: How many days before it, that day included; None begins with the year.
        keep_serving: Whether the service stays up until Ctrl-C.

    Raises:
        SettingsError: if the days lie outside 2013, or are too few to train on.
    """
    start = _first_day(through, days)
    console = Console(soft_wrap=True)
    platform = Platform(settings, _contracts)
    story = Story(through)
    with metering.metering() as usage:
        try:
            _tell(platform, console, story, start)
            story.usage = usage
            report = _report(platform, console, story)
            if keep_serving:
                _wait(console, settings)
        finally:
            _close(platform)
    return report


def _contracts() -> dict[Any, Any]:
    from pipelines.definitions import all_contracts

    return all_contracts()


def _first_day(through: date, days: int | None) -> date:
    start = FIRST_DAY if days is None else through - timedelta(days=days - 1)
    last = LAST_DAY - timedelta(days=REPLAY_DAYS)
    if not FIRST_DAY <= start <= through <= last or (through - start).days + 1 < MINIMUM_DAYS:
        raise SettingsError(
            object="demo --through/--days",
            observed=f"{start} to {through}",
            expected=f"at least {MINIMUM_DAYS} days between {FIRST_DAY} and {last}",
            next_step="leave both out, or choose days of 2013",
        )
    return start


def _tell(platform: Platform, console: Console, story: Story, start: date) -> None:
    from assets.flights import deliveries

    settings, through = platform.settings, story.through
    database = settings.root / "operations.db"
    midnight = _local(through + timedelta(days=1), 0)
    console.rule("[bold]Goldpath: from landed files to a served prediction")
    with _stage(story, console, "land", f"{start} to {through}, as files would arrive"):
        clock.move(settings, midnight)
        landed = deliveries.land(platform.landing, start=start, end=through, database=database)
        story.arrivals.append(landed)
        console.print(f"  {landed.files:,} files, {landed.rows:,} rows, {landed.bytes / 2**20:.1f} MiB")
    with _stage(story, console, "whole", "tables, features, training, registry, service"):
        tags = range_tags([start.isoformat(), through.isoformat()])
        _execute(platform, console, story, "whole", tags=tags, config=_windows(start, through, midnight))
    week = [through + timedelta(days=n) for n in range(1, REPLAY_DAYS + 1)]
    with _stage(story, console, "refresh", f"{week[0]} to {week[-1]} land, the sensor notices, the champion is tuned"):
        story.arrivals.append(deliveries.land(platform.landing, start=week[0], end=week[-1], database=database))
        clock.move(settings, _local(week[0], REPLAY_HOURS[0]))
        for request in _sensed(platform):
            config = _fine_tune_windows(start, through, midnight) if request.job_name == "refresh" else None
            _execute(platform, console, story, str(request.job_name), tags=dict(request.tags), config=config)
    with _stage(story, console, "replay", "the service is asked before each flight leaves"):
        _replay(platform, console, story, week)
    with _stage(story, console, "outcomes", "the flights have arrived: how good were the predictions?"):
        clock.move(settings, _local(week[-1] + timedelta(days=2), 0))
        _execute(platform, console, story, "outcomes")


def _windows(start: date, through: date, end: datetime) -> dict[str, Any] | None:
    """The whole year trains on the recipe's own windows; a shorter demo gates on its last tenth."""
    if start == FIRST_DAY and through == date(2013, 10, 31):
        return None
    return _train_config(start, _local(through - timedelta(days=_gate_days(start, through) - 1), 0), end)


def _fine_tune_windows(start: date, through: date, end: datetime) -> dict[str, Any]:
    if start == FIRST_DAY and through == date(2013, 10, 31):
        return FINE_TUNE
    begin = through - timedelta(days=_gate_days(start, through) - 1)
    return _train_config(begin, _local(begin, 0) + (end - _local(begin, 0)) / 2, end, mode="FINE_TUNE")


def _gate_days(start: date, through: date) -> int:
    return max(((through - start).days + 1) // 10, MINIMUM_GATE_DAYS)


def _train_config(start: date, gate_start: datetime, end: datetime, mode: str = "FROM_SCRATCH") -> dict[str, Any]:
    config = {
        "mode": mode,
        "train_start": _local(start, 0).isoformat(),
        "train_end": gate_start.isoformat(),
        "gate_end": end.isoformat(),
    }
    return {"ops": {"training__flights__arrival_delay": {"config": config}}}


def _sensed(platform: Platform) -> list[dg.RunRequest]:
    """What the sensor that a user would switch on asks for now."""
    import dagster as dg

    from pipelines.definitions import new_deliveries

    with dg.DagsterInstance.get() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
        asked: Any = new_deliveries(context)
        return [request for request in asked if isinstance(request, dg.RunRequest)]


def _execute(
    platform: Platform,
    console: Console,
    story: Story,
    job: str,
    *,
    tags: dict[str, str] | None = None,
    config: dict[str, Any] | None = None,
    quiet: bool = False,
) -> None:
    """Runs a job in this process, in Dagster's own storage, and says what each asset did as it does it."""
    import dagster as dg

    from pipelines.definitions import defs

    definition = defs.resolve_job_def(job)
    run_id = str(uuid.uuid4())
    with dg.DagsterInstance.get() as instance, _progress(console, len(definition.graph.nodes), quiet=quiet) as told:
        instance.add_event_listener(run_id, told)
        try:
            result = definition.execute_in_process(
                instance=instance,
                run_config=(config or {}) | QUIET_LOG,
                tags=tags,
                resources={"platform": platform},
                run_id=run_id,
            )
        except dg.Failure as failure:
            raise failure.__cause__ or failure from None
    story.runs.append((job, result))


@contextmanager
def _progress(console: Console, steps: int, *, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """A listener for Dagster's events that shows which asset is at work, and a line for each that is done."""
    done: dict[str, None] = {}
    with console.status("starting", spinner="dots") as status:

        def told(entry: Any) -> None:
            event = entry.dagster_event
            if event is None or quiet:
                return
            if event.is_step_start:
                status.update(f"[{len(done)}/{steps}] {event.step_key.replace('__', '/')}")
            elif event.event_type_value == "ASSET_MATERIALIZATION":
                name = "/".join(event.asset_key.path)
                if name not in done and not name.startswith("quarantine/"):
                    done[name] = None
                    console.print(f"  {name:38s} {_figures(event.materialization.metadata)}")

        yield told


def _figures(metadata: Mapping[str, Any]) -> str:
    value = {name: entry.value for name, entry in metadata.items()}
    seconds = f"{value.get('seconds', 0):6.1f} s"
    if "rows_in" in value:
        rejected = value.get("rows_quarantined") or 0
        return f"{seconds}  {value['rows_clean']:>9,} rows" + (f", {rejected:,} in quarantine" if rejected else "")
    if "gate_auc" in value:
        return f"{seconds}  AUC {value['gate_auc']:.3f} (baseline {value['baseline_auc']:.3f})"
    return seconds + ("  " + str(value["gate"]) if "gate" in value else "")


def _replay(platform: Platform, console: Console, story: Story, week: list[date]) -> None:
    """Moves the clock from moment to moment: features move on, then the next flights are asked about."""
    from assets.flights.schedule import scheduled_flights
    from serving.predict import client
    from serving.predict.http import BATCH_PATH

    flights = scheduled_flights(week)
    moments = [_local(day, hour) for day in week for hour in REPLAY_HOURS]
    with client.connection(platform.settings) as service:
        for number, moment in enumerate(moments, start=1):
            clock.move(platform.settings, moment)
            _execute(platform, console, story, "online_features", quiet=True)
            asked = [
                f for f in flights if moment + HORIZON <= f.scheduled_departure_at < moment + HORIZON + ASKED_WINDOW
            ]
            if not asked:
                continue
            body = {"flights": [_question(flight) for flight in asked]}
            answers = client.answered(service.post(BATCH_PATH, json=body))["predictions"]
            story.answers += answers
            late = sum(answer["decision"] == "late" for answer in answers)
            console.print(
                f"  {number:2d}/{len(moments)} {moment.astimezone(LOCAL):%a %d %b %H:%M}  "
                f"{len(answers):3d} flights asked, {late:2d} called late"
            )


def _question(flight: Any) -> dict[str, Any]:
    """A scheduled flight as an airline would name it."""
    departure = flight.scheduled_departure_at
    minutes = flight.scheduled_duration_minutes
    return {
        "flight": f"{flight.carrier}{flight.flight}",
        "origin": flight.origin,
        "destination": flight.dest,
        "scheduled_departure": departure.astimezone(LOCAL).isoformat(),
        "scheduled_arrival": None if minutes is None else (departure + timedelta(minutes=minutes)).isoformat(),
        "tail_number": flight.tailnum,
    }


@contextmanager
def _stage(story: Story, console: Console, name: str, words: str) -> Iterator[None]:
    console.print(f"\n[bold]{name}[/]  [dim]{words}[/]")
    begun = time.perf_counter()
    yield
    seconds = time.perf_counter() - begun
    story.stages.append({"name": name, "seconds": round(seconds, 2)})
    console.print(f"  [green]{seconds:.1f} s[/]")


def _report(platform: Platform, console: Console, story: Story) -> Path:
    from pipelines.demo import report as demo_report

    with _stage(story, console, "report", "what happened, in one page"):
        facts = demo_report.collect(platform, story)
        path = demo_report.write(platform.settings.root / "demo", facts)
    demo_report.show(console, facts, path)
    return path


def _wait(console: Console, settings: Settings) -> None:
    from serving.predict import client

    console.print(f"\nServing at {client.url(settings)} until Ctrl-C.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping.")


def _close(platform: Platform) -> None:
    """Ends the engine and the cluster that this process started."""
    import ray

    if ray.is_initialized():
        ray.shutdown()
    platform.close()


def _local(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=LOCAL).astimezone(UTC)
