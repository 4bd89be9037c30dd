"""`goldpath materialize`: one run of assets in this process, recorded in the Dagster instance that the UI shows."""

from __future__ import annotations

import logging
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from pipelines.commands.invocation import errors_shown, invocation, opened_platform, say, show_error, unexpected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import dagster as dg

DAY = "YYYY-MM-DD"
#: How a training begins: those of `pipelines.models.assets.TrainMode`.
Mode = Literal["from_scratch", "fine_tune", "search"]
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def materialize(
    assets: Annotated[
        list[str],
        typer.Argument(metavar="ASSET...", help="Asset keys, in any order: zone/domain/table, training/domain/model."),
    ],
    first: Annotated[
        str | None, typer.Option("--from", metavar=DAY, help="The first day, for tables with daily partitions.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar=DAY, help="The last day. [default: the first day]")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute tables again whose inputs and code did not change.")
    ] = False,
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="How the models among them are trained. [default: from_scratch]")
    ] = None,
) -> None:
    """Materializes assets in one run, inputs first: tables, training sets, models, deployments, whatever Dagster shows.

    A table whose inputs and code did not change is left as it is. The checks of an asset are judged in its run.

    Example: `goldpath materialize bronze/shop/orders silver/shop/orders --from 2026-01-01 --to 2026-01-31`

    Example: `goldpath materialize training/shop/returns models/shop/returns --mode search`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.definitions import defs
        from pipelines.governed.declaration import RECOMPUTE
        from pipelines.orchestration import dagster_home

        job = defs.resolve_implicit_global_asset_job_def()
        keys = _known_keys(assets, job.asset_layer.executable_asset_keys)
        # One asset can write several tables, such as a silver table and its quarantine; all of them are selected.
        definitions = {key.to_user_string(): defs.resolve_assets_def(key) for key in keys}
        tags = _range(definitions, first, last) | ({RECOMPUTE: "true"} if recompute else {})
        ops = _trained_in(mode, keys) if mode is not None else {}
        with dagster_home.instance(platform.settings) as instance:
            selected = {key for definition in definitions.values() for key in definition.keys}
            if not run_shown(job, instance, selected, tags, ops=ops):
                raise typer.Exit(1)
        _show_next(keys)


def run_shown(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    assets: Iterable[dg.AssetKey],
    tags: Mapping[str, str],
    *,
    ops: Mapping[str, Any] = MappingProxyType({}),
    quiet: bool = False,
) -> bool:
    """Runs assets in this process, prints what their checks say and why steps failed; returns whether all succeeded.

    Args:
        job: A job with the assets.
        instance: Keeps the run.
        assets: The keys of the assets, which Dagster shows as the target of the run.
        tags: Of the run.
        ops: The configuration of single assets, by the names of their ops.
        quiet: Print no check that passed.

    Raises:
        KeyboardInterrupt: if the run ended by Ctrl-C.
    """
    import uuid

    import dagster as dg

    from pipelines.orchestration.runs import NO_LOG

    run_id = str(uuid.uuid4())
    instance.add_event_listener(run_id, _say_message)
    result = job.execute_in_process(
        run_id=run_id,
        instance=instance,
        asset_selection=sorted(assets),
        tags=dict(tags),
        raise_on_error=False,
        run_config=({} if invocation.debug else NO_LOG) | {"ops": dict(ops)},
    )
    warning = dg.AssetCheckSeverity.WARN
    checks = result.get_asset_check_evaluations()
    for check in checks:
        mark = "ok  " if check.passed else "warn" if check.severity == warning else "FAIL"
        if not (quiet and check.passed):
            say(f"{mark} {check.asset_key.to_user_string()}: {check.description}")
    failures = result.get_step_failure_events()
    if any(_was_interrupted(event.step_failure_data) for event in failures):
        raise KeyboardInterrupt
    for event in failures:
        if not _is_failed_check(event.step_failure_data):  # its line says why
            _show_failure(event.step_failure_data)
    succeeded = result.success and all(check.passed or check.severity == warning for check in checks)
    skipped = sorted(str(event.step_key).replace("__", "/") for event in result.get_step_skipped_events())
    if skipped and not succeeded:
        say(f"not run, since an input failed: {', '.join(skipped)}", err=True)
    return succeeded


def _say_message(entry: dg.EventLogEntry) -> None:
    """Prints what the run of an asset says of itself on the way, such as the epochs of a training; no warnings.

    Warnings are of the tables or the clock: checks and the command itself tell those, once.
    """
    if entry.dagster_event is None and entry.step_key and entry.level == logging.INFO and not invocation.debug:
        say(f"{entry.step_key.replace('__', '/')}: {entry.user_message.partition(chr(10))[0]}", err=True)


def _known_keys(names: Sequence[str], known: Iterable[dg.AssetKey]) -> list[dg.AssetKey]:
    """The asset keys of these names.

    Raises:
        UsageError: for one that no asset has.
        GoldpathError: the error of the domain of one, if that does not load.
    """
    import difflib

    import dagster as dg

    from pipelines.definitions import broken_domains
    from pipelines.errors import UsageError

    keys = [dg.AssetKey(name.strip("/").split("/")) for name in names]
    known = set(known)
    texts = {key.to_user_string() for key in known}
    for name, key in zip(names, keys, strict=True):
        if key not in known and len(key.path) > 1 and key.path[1] in broken_domains():
            raise broken_domains()[key.path[1]]
        if key not in known:
            alike = difflib.get_close_matches(name, texts, n=3) or sorted(text for text in texts if name in text)[:3]
            raise UsageError(
                object=f"asset {name}",
                observed="the code location does not define it, or it has no run",
                expected=f"an asset key such as {', '.join(alike or sorted(texts)[:3])}",
                next_step="correct the name, or declare the asset; `goldpath tables` lists the tables, `goldpath dev` "
                "shows every asset",
            )
    return keys


def _trained_in(mode: Mode, keys: Iterable[dg.AssetKey]) -> dict[str, Any]:
    """The configuration of the trainings among the assets; raises UsageError if there is none."""
    names = [key.path for key in keys if key.path[0] == "training"]
    if not names:
        observed = "none of these assets trains a model"
        _refuse(f"--mode {mode}", observed, "an asset such as training/shop/returns", "leave it out, or add the asset")
    return {"__".join(path): {"config": {"mode": mode.upper()}} for path in names}


def _range(definitions: Mapping[str, dg.AssetsDefinition], first: str | None, last: str | None) -> dict[str, str]:
    """The tags of a run over the days from the first to the last, both included; none for assets that have no days.

    Raises:
        UsageError: if assets by day get no days, or others than theirs; or no asset is by day.
    """
    from pipelines.orchestration.runs import range_tags

    days = {name: d.partitions_def for name, d in definitions.items() if d.partitions_def}
    if not days and (first or last):
        _refuse("--from and --to", "none of these assets is by day", "assets with daily partitions", "leave them out")
    if not days:
        return {}
    name, partitions = next(iter(days.items()))
    known = partitions.get_partition_keys()
    span = f"days from {known[0]} to {known[-1]}" if known else "days, of which there is none yet"
    if not first:
        example = f"--from {known[0]} --to {known[-1]}" if known else f"--from {DAY}"
        _refuse(f"asset {name}", "it is by day, and --from is missing", span, f"add {example}, or fewer days")
    last = last or first
    for option, value in (("--from", first), ("--to", last)):
        for name, partitions in days.items():
            if not partitions.has_partition_key(value):
                _refuse(f"{option} {value}", f"{name} has no such day", f"{DAY}: {span}", "correct the day")
    if last < first:
        _refuse(f"--to {last}", f"it is before --from {first}", "the last day, at or after the first", "swap them")
    return range_tags([first, last])


def _refuse(what: str, observed: str, expected: str, next_step: str) -> NoReturn:
    from pipelines.errors import UsageError

    raise UsageError(object=what, observed=observed, expected=expected, next_step=next_step)


def _show_failure(data: Any) -> None:
    """Shows why a step failed: the error's own words, or class, text and place of an error that is not Goldpath's."""
    if data.user_failure_data and "object" in data.user_failure_data.metadata:
        facts = {name: str(value.value) for name, value in data.user_failure_data.metadata.items()}
        show_error(facts.pop("error"), facts)
        return
    error = _cause(data.error)
    frames = [(found[1], int(found[2])) for line in error.stack if (found := _FRAME.search(line))]
    text = error.message.strip().removeprefix(f"{error.cls_name}: ")
    show_error(error.cls_name or "Error", unexpected(text, frames))


def _cause(error: Any) -> Any:
    """The first of the errors that Dagster wrapped into one."""
    while error.cause:
        error = error.cause
    return error


def _was_interrupted(data: Any) -> bool:
    """Whether a step failed because of Ctrl-C."""
    return _cause(data.error).cls_name in ("KeyboardInterrupt", "DagsterExecutionInterruptedError")


def _is_failed_check(data: Any) -> bool:
    """Whether a step failed because a blocking check of its asset did."""
    return _cause(data.error).cls_name == "DagsterAssetCheckFailedError"


def _show_next(keys: Sequence[dg.AssetKey]) -> None:
    """Names the command that shows the last table that was written; of other assets says that they were."""
    from pipelines import settings
    from pipelines.machine import ray_head
    from pipelines.tables import ZONES

    names = {key.to_user_string(): key.path[0] in ZONES and key.path[:2] != ["ops", "platform"] for key in keys}
    for name, is_table in names.items():
        if not is_table:
            say(f"done {name}")
    current = settings.get()
    if any(name.startswith("serving/") for name in names) and not (current.ray_address or ray_head.running(current)):
        say("the service ended with the Ray cluster of this command; `goldpath dev` starts it again, and keeps it")
    if tables := [name for name, is_table in names.items() if is_table]:
        say(f"next: goldpath tables show {tables[-1]}")
