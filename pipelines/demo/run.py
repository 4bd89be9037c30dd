"""The demo: lands files, fills tables, trains, registers and deploys a model, then replays a week and writes a report.

The data is of 2013, so the demo moves the platform's replay clock: features and outcomes are used only if they were
known at the time that the clock shows.
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
from pipelines.demo.results import DemoResults
from pipelines.errors import SettingsError
from pipelines.governed.platform import Platform
from pipelines.orchestration.runs import QUIET_LOG, range_tags
from pipelines.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from pipelines.landing.made_files import Landed

LOCAL = ZoneInfo("America/New_York")
FIRST_DAY, LAST_DAY = date(2013, 1, 1), date(2013, 12, 31)
#: With fewer days of training data the model seldom beats its baseline, and then no model is served.
MINIMUM_DAYS = 60
#: The days on which the gate compares models. For fine-tuning, the first half trains and the second half compares.
MINIMUM_GATE_DAYS = 14
REPLAY_DAYS = 7
#: Local hours at which the service predicts the flights that leave between HORIZON and HORIZON + WINDOW later.
REPLAY_HOURS = (5, 12, 17)
HORIZON = timedelta(hours=2)
WINDOW = timedelta(hours=1)


def run(settings: Settings, *, through: date, days: int | None, keep_serving: bool) -> Path:
    """Runs the demo and returns the path of its report.

    Args:
        settings: The settings, with the home folder to use. A second demo in the same folder adds no rows twice.
        through: The last day that lands before the replayed week.
        days: The number of days that land, `through` included; None begins on 1 January.
        keep_serving: Whether the service runs on until Ctrl-C.

    Raises:
        SettingsError: if the days are not in 2013, or fewer than MINIMUM_DAYS.
    """
    start = _first_day(through, days)
    console = Console(soft_wrap=True)
    platform = Platform(settings, _contracts)
    results = DemoResults(through)
    with metering.metering() as usage:
        try:
            _run_stages(platform, console, results, start)
            results.usage = usage
            report = _report(platform, console, results)
            if keep_serving:
                _wait(console, settings)
        finally:
            _close(platform)
    return report


def _contracts() -> dict[Any, Any]:
    from pipelines.definitions import all_contracts

    return all_contracts()


def _first_day(through: date, days: int | None) -> date:
    """The first day that lands; raises SettingsError as `run` does."""
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


def _run_stages(platform: Platform, console: Console, results: DemoResults, start: date) -> None:
    """Runs the stages one after the other, and prints what each does."""
    settings, through = platform.settings, results.through
    midnight = _local(through + timedelta(days=1), 0)
    console.rule("[bold]Goldpath: from landed files to a served prediction")
    with _stage(results, console, "land", f"files of {start} to {through} arrive"):
        clock.move(settings, midnight)
        for landed in _land(platform, start, through):
            results.arrivals.append(landed)
            console.print(f"  {landed.files:,} files, {landed.rows:,} rows, {landed.bytes / 2**20:.1f} MiB")
    with _stage(results, console, "whole", "tables, features, training, registry, service"):
        tags = range_tags([start.isoformat(), through.isoformat()])
        _execute(platform, console, results, "weather_ingest", tags=tags)
        _execute(platform, console, results, "flights_whole", tags=tags, config=_windows(start, through, midnight))
    week = [through + timedelta(days=n) for n in range(1, REPLAY_DAYS + 1)]
    summary = f"files of {week[0]} to {week[-1]} arrive, the sensor requests runs, the champion is fine-tuned"
    with _stage(results, console, "refresh", summary):
        results.arrivals += _land(platform, week[0], week[-1])
        clock.move(settings, _local(week[0], REPLAY_HOURS[0]))
        for request in _sensor_requests(platform):
            config = _fine_tune_windows(start, through, midnight) if request.job_name == "flights_refresh" else None
            _execute(
                platform,
                console,
                results,
                str(request.job_name),
                tags=dict(request.tags),
                config=config,
            )
    with _stage(results, console, "replay", "the service predicts each flight of that week before it leaves"):
        _replay(platform, console, results, week)
    with _stage(results, console, "outcomes", "the flights have arrived: predictions are compared with outcomes"):
        clock.move(settings, _local(week[-1] + timedelta(days=2), 0))
        _execute(platform, console, results, "flights_outcomes")


def _land(platform: Platform, start: date, end: date) -> list[Landed]:
    """Lands what the sources of both domains deliver for some local days."""
    from assets.flights import deliveries as flights
    from assets.weather import deliveries as weather

    database = platform.settings.root / "operations.db"
    return [
        weather.land(platform.landing, start=start, end=end),
        flights.land(platform.landing, start=start, end=end, database=database),
    ]


def _windows(start: date, through: date, end: datetime) -> dict[str, Any] | None:
    """The run configuration with the windows of the first model, of which the gate uses the last tenth of the days.

    None for the default days, which are those of the recipe's own windows.
    """
    if start == FIRST_DAY and through == date(2013, 10, 31):
        return None
    return _train_config(start, _local(through - timedelta(days=_gate_days(start, through) - 1), 0), end)


def _fine_tune_windows(start: date, through: date, end: datetime) -> dict[str, Any]:
    """The run configuration with the windows of fine-tuning: the two halves of the last tenth of the days.

    That of the job for the default days, which are those of the recipe's own windows.
    """
    if start == FIRST_DAY and through == date(2013, 10, 31):
        from pipelines.definitions import domains
        from pipelines.orchestration.jobs import fine_tuning

        return fine_tuning(domains()["flights"])
    begin = through - timedelta(days=_gate_days(start, through) - 1)
    return _train_config(begin, _local(begin, 0) + (end - _local(begin, 0)) / 2, end, mode="FINE_TUNE")


def _gate_days(start: date, through: date) -> int:
    return max(((through - start).days + 1) // 10, MINIMUM_GATE_DAYS)


def _train_config(start: date, gate_start: datetime, end: datetime, mode: str = "FROM_SCRATCH") -> dict[str, Any]:
    """The run configuration for training on flights from `start` to `gate_start`, and the gate from then to `end`."""
    config = {
        "mode": mode,
        "train_start": _local(start, 0).isoformat(),
        "train_end": gate_start.isoformat(),
        "gate_end": end.isoformat(),
    }
    return {"ops": {"training__flights__arrival_delay": {"config": config}}}


def _sensor_requests(platform: Platform) -> list[dg.RunRequest]:
    """The runs that the sensors for new deliveries request now; flights read the weather, so its runs come first."""
    import dagster as dg

    from pipelines.definitions import defs

    with dg.DagsterInstance.get() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
        results: list[Any] = [
            result
            for domain in ("weather", "flights")
            for result in defs.resolve_sensor_def(f"{domain}_new_deliveries")(context)  # ty: ignore
        ]
        return [result for result in results if isinstance(result, dg.RunRequest)]


def _execute(
    platform: Platform,
    console: Console,
    results: DemoResults,
    job: str,
    *,
    tags: dict[str, str] | None = None,
    config: dict[str, Any] | None = None,
    quiet: bool = False,
) -> None:
    """Runs a job in this process, recorded in Dagster's instance; prints a line for each asset unless `quiet`."""
    import dagster as dg

    from pipelines.definitions import defs

    definition = defs.resolve_job_def(job)
    run_id = str(uuid.uuid4())
    with dg.DagsterInstance.get() as instance, _progress(console, len(definition.graph.nodes), quiet=quiet) as listener:
        instance.add_event_listener(run_id, listener)
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
    results.runs.append((job, result))


@contextmanager
def _progress(console: Console, steps: int, *, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """A listener for Dagster's events that shows the current step, and prints a line for each asset that is done."""
    done: set[str] = set()
    with console.status("starting", spinner="dots") as status:

        def listener(entry: Any) -> None:
            event = entry.dagster_event
            if event is None or quiet:
                return
            if event.is_step_start:
                status.update(f"[{len(done)}/{steps}] {event.step_key.replace('__', '/')}")
            elif event.event_type_value == "ASSET_MATERIALIZATION":
                name = "/".join(event.asset_key.path)
                if name not in done and not name.startswith("quarantine/"):
                    done.add(name)
                    console.print(f"  {name:38s} {_figures(event.materialization.metadata)}")

        yield listener


def _figures(metadata: Mapping[str, Any]) -> str:
    """The seconds of a materialization, with its rows, its AUC or its gate's result."""
    value = {name: entry.value for name, entry in metadata.items()}
    seconds = f"{value.get('seconds', 0):6.1f} s"
    if "rows_in" in value:
        rejected = value.get("rows_quarantined") or 0
        return f"{seconds}  {value['rows_clean']:>9,} rows" + (f", {rejected:,} in quarantine" if rejected else "")
    if "gate_auc" in value:
        return f"{seconds}  AUC {value['gate_auc']:.3f} (baseline {value['baseline_auc']:.3f})"
    return seconds + ("  " + str(value["gate"]) if "gate" in value else "")


def _replay(platform: Platform, console: Console, results: DemoResults, week: list[date]) -> None:
    """For each REPLAY_HOURS of the week: moves the clock, updates the online features, predicts the next flights."""
    from assets.flights.schedule import scheduled_flights
    from serving.predict import client
    from serving.predict.http import BATCH_PATH

    flights = scheduled_flights(week)
    instants = [_local(day, hour) for day in week for hour in REPLAY_HOURS]
    with client.connection(platform.settings, "flights.arrival_delay") as service:
        for number, instant in enumerate(instants, start=1):
            clock.move(platform.settings, instant)
            _execute(platform, console, results, "flights_online_features", quiet=True)
            start, end = instant + HORIZON, instant + HORIZON + WINDOW
            next_flights = [flight for flight in flights if start <= flight.scheduled_departure_at < end]
            if not next_flights:
                continue
            body = {"questions": [_request_body(flight) for flight in next_flights]}
            answers = client.answered(service.post(BATCH_PATH, json=body))["predictions"]
            results.answers += answers
            late = sum(answer["decision"] == "late" for answer in answers)
            console.print(
                f"  {number:2d}/{len(instants)} {instant.astimezone(LOCAL):%a %d %b %H:%M}  "
                f"{len(answers):3d} flights predicted, {late:2d} of them late"
            )


def _request_body(flight: Any) -> dict[str, Any]:
    """A scheduled flight as a request to the service names it."""
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
def _stage(results: DemoResults, console: Console, name: str, summary: str) -> Iterator[None]:
    """Prints the summary and the duration of a stage, and records the duration."""
    console.print(f"\n[bold]{name}[/]  [dim]{summary}[/]")
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    results.stages.append({"name": name, "seconds": round(seconds, 2)})
    console.print(f"  [green]{seconds:.1f} s[/]")


def _report(platform: Platform, console: Console, results: DemoResults) -> Path:
    """Writes and prints the report; returns the path of its page."""
    from pipelines.demo import report as demo_report

    with _stage(results, console, "report", "all figures on one page"):
        figures = demo_report.collect(platform, results)
        path = demo_report.write(platform.settings.root / "demo", figures)
    demo_report.show(console, figures, path)
    return path


def _wait(console: Console, settings: Settings) -> None:
    """Prints the address of the service and waits for Ctrl-C."""
    from serving.predict import client

    console.print(f"\nServing at {client.url(settings, 'flights.arrival_delay')} until Ctrl-C.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping.")


def _close(platform: Platform) -> None:
    """Ends the engine and the Ray cluster that this process started."""
    import ray

    if ray.is_initialized():
        ray.shutdown()
    platform.close()


def _local(day: date, hour: int) -> datetime:
    """The instant, in UTC, at which it is this hour of the day in New York."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=LOCAL).astimezone(UTC)
