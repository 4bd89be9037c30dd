"""`goldpath materialize`: one run of tables in this process, recorded in the Dagster instance that the UI shows."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.invocation import errors_shown, opened_platform, say

DAY = "YYYY-MM-DD"


def materialize(
    tables: Annotated[list[str], typer.Argument(metavar="ZONE/DOMAIN/TABLE...", help="Tables, in any order.")],
    first: Annotated[
        str | None, typer.Option("--from", metavar=DAY, help="The first day, for tables with daily partitions.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar=DAY, help="The last day. [default: the first day]")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute tables again whose inputs and code did not change.")
    ] = False,
) -> None:
    """Materializes tables in one run, inputs first. A table whose inputs and code did not change is left as it is.

    Example: `goldpath materialize bronze/flights/flights silver/flights/flights --from 2013-01-01 --to 2013-01-31`
    """
    with errors_shown(), opened_platform():
        import dagster as dg

        from pipelines.definitions import defs
        from pipelines.errors import NotFoundError
        from pipelines.governed.declaration import RECOMPUTE
        from pipelines.orchestration.runs import QUIET_LOG, RANGE_END, RANGE_START
        from pipelines.tables import TableId

        keys = [dg.AssetKey(TableId.parse(name).key) for name in tables]
        job = defs.resolve_implicit_global_asset_job_def()
        known = job.asset_layer.executable_asset_keys
        for name, key in zip(tables, keys, strict=True):
            if key not in known:
                raise NotFoundError(
                    object=f"asset {name}",
                    observed="the code location does not define it",
                    expected="a table of `goldpath tables` that an asset writes",
                    next_step="correct the name, or declare the asset",
                )
        # One asset can write several tables, such as a silver table and its quarantine; all of them are selected.
        selection = {asset_key for key in keys for asset_key in defs.resolve_assets_def(key).keys}
        tags = {RECOMPUTE: "true"} if recompute else {}
        if first:
            tags |= {RANGE_START: first, RANGE_END: last or first}
        with dg.DagsterInstance.get() as instance:
            result = job.get_subset(asset_selection=selection).execute_in_process(
                instance=instance,
                tags=tags,
                raise_on_error=False,
                run_config=QUIET_LOG,
            )
        warning = dg.AssetCheckSeverity.WARN
        for check in result.get_asset_check_evaluations():
            mark = "ok  " if check.passed else "warn" if check.severity == warning else "FAIL"
            say(f"{mark} {check.asset_key.to_user_string()}: {check.description}")
        for event in result.get_step_failure_events():
            data = event.step_failure_data
            say((data.user_failure_data and data.user_failure_data.description) or data.error_display_string)
        failed = [c for c in result.get_asset_check_evaluations() if not c.passed and c.severity != warning]
        if failed or not result.success:
            raise typer.Exit(1)
        say(f"goldpath tables show {tables[-1]}")
