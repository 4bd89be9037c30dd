"""Runs jobs in this process for the demo, recorded in Dagster's instance, and prints a line for each asset."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipelines.demo.results import DemoResults
from pipelines.governed.platform import Platform
from pipelines.orchestration import dagster_home
from pipelines.orchestration.runs import QUIET_LOG


def execute(
    platform: Platform,
    console: Console,
    results: DemoResults,
    job: str,
    *,
    tags: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> None:
    """Runs a job; prints a line for each asset unless `quiet`. Raises the error of the first asset that fails."""
    import dagster as dg

    from pipelines.definitions import defs

    definition = defs.resolve_job_def(job)
    run_id = str(uuid.uuid4())
    with (
        dagster_home.instance(platform.settings) as instance,
        _progress(console, len(definition.graph.nodes), quiet=quiet) as listener,
    ):
        instance.add_event_listener(run_id, listener)
        try:
            result = definition.execute_in_process(
                instance=instance,
                run_config={**(config or {}), **QUIET_LOG},
                tags=dict(tags or {}),
                resources={"platform": platform},
                run_id=run_id,
            )
        except dg.Failure as failure:
            raise failure.__cause__ or failure from None
    results.runs.append((job, result))


@contextmanager
def _progress(console: Console, steps: int, *, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """A listener for Dagster's events that shows the current step, and prints a line for each asset that is done.

    Beside the step stands what its run logged last, such as how far a training is.
    """
    done: set[str] = set()
    with console.status("starting", spinner="dots") as status:

        def listener(entry: Any) -> None:
            event, step = entry.dagster_event, f"[{len(done)}/{steps}] {(entry.step_key or '').replace('__', '/')}"
            if quiet:
                return
            if event is None:
                status.update(escape(f"{step}: {entry.user_message.partition(chr(10))[0]}"))
            elif event.is_step_start:
                status.update(escape(step))
            elif event.event_type_value == "ASSET_MATERIALIZATION":
                name = "/".join(event.asset_key.path)
                figures = {key.removeprefix("run_"): v.value for key, v in event.materialization.metadata.items()}
                # Of several partitions, the last has the figures of the run.
                if "seconds" in figures and name not in done and not name.startswith("quarantine/"):
                    done.add(name)
                    console.print(f"  {name:38s} {_figures(figures)}")

        yield listener


def _figures(value: Mapping[str, Any]) -> str:
    """The seconds of a materialization, with what its run wrote, or its model's gate metrics beside the baseline's."""
    seconds = f"{value.get('seconds', 0):6.1f} s"
    if "rows_in" in value:
        rejected = value.get("rows_quarantined") or 0
        return f"{seconds}  {value['rows_clean']:>9,} rows" + (f", {rejected:,} in quarantine" if rejected else "")
    for metric in ("auc", "mae", "accuracy", "held_out_loss"):
        if f"gate_{metric}" in value:
            return f"{seconds}  {metric} {value[f'gate_{metric}']:.3f} (baseline {value[f'baseline_{metric}']:.3f})"
    return seconds + ("  " + str(value["gate"]) if "gate" in value else "")
