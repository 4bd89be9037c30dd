"""`goldpath`: the commands. Each imports what it needs when it runs, so that help appears at once."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.commands import landing, quarantine, tables
from pipelines.commands.invocation import (
    AsJson,
    errors_shown,
    invocation,
    opened_platform,
    prepared_settings,
    print_json,
)
from pipelines.commands.materialize import materialize
from pipelines.commands.push import push
from pipelines.commands.quality import quality_app

if TYPE_CHECKING:
    from pipelines.settings import Settings

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
lineage_app = typer.Typer(help="Where something came from.", no_args_is_help=True)
cost_app = typer.Typer(help="What runs cost.", no_args_is_help=True)
app.add_typer(lineage_app, name="lineage")
app.add_typer(cost_app, name="cost")
app.add_typer(landing.app, name="landing")
app.add_typer(quarantine.app, name="quarantine")
app.command("materialize")(materialize)
app.command("push")(push)
app.add_typer(quality_app, name="quality")
app.add_typer(tables.tables_app, name="tables")
app.command()(tables.rebuild)


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the stack of an error.")] = False,
) -> None:
    invocation.debug = debug


@app.command()
def demo(
    through: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="Last day to land before the replayed week.")
    ] = "2013-10-31",
    days: Annotated[int | None, typer.Option(min=1, help="Land only this many days before it.")] = None,
    engine: Annotated[
        Literal["embedded", "spark"] | None, typer.Option(help="Who computes tables; else GOLDPATH_ENGINE.")
    ] = None,
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Serve until Ctrl-C.")] = False,
) -> None:
    """From landed files to a served prediction that is traced back to its source row.

    Example: `goldpath demo --days 60 --keep-serving`
    """
    import os

    with errors_shown():
        if engine is not None:
            os.environ["GOLDPATH_ENGINE"] = engine
        settings = prepared_settings()
        from pipelines.demo.run import run

        run(settings, through=_day(through), days=days, keep_serving=keep_serving)


def _day(text: str) -> date:
    from pipelines.errors import SettingsError

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            object="--through", observed=repr(text), expected="a day, YYYY-MM-DD", next_step="write it as 2013-10-31"
        ) from None


@app.command()
def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Dagster's port.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="MLflow's port.")] = 5000,
    ray_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Ray's port; else a free one.")] = None,
    ray_dashboard: Annotated[bool, typer.Option("--ray-dashboard", help="Ray's own pages too (700 MB).")] = False,
    ray_dashboard_port: Annotated[int, typer.Option(min=1, max=65535, help="The port of those pages.")] = 8265,
) -> None:
    """Runs Dagster, MLflow, Ray and what was deployed last, on this machine alone, until Ctrl-C.

    Example: `goldpath dev --port 3100`
    """
    with errors_shown():
        settings = prepared_settings()
        from rich.console import Console

        from pipelines.commands.dev_servers import DevPorts, run

        run(
            settings,
            console=Console(),
            redeploy=_redeploy,
            at=DevPorts(port, mlflow_port, ray_port, ray_dashboard_port),
            ray_dashboard="on" if ray_dashboard else "off",
        )


def _redeploy(settings: Settings) -> str | None:
    from serving import deploy

    return deploy.redeploy(settings).url if deploy.current(settings) else None


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What this machine has and lacks, with what to do about it. Exit code 1 if the demo cannot run.

    Example: `goldpath doctor --json`
    """
    with errors_shown():
        from pipelines import settings
        from pipelines.commands import examination

        findings = examination.examine(settings.get())
        if as_json:
            print_json(examination.as_json(findings))
        else:
            examination.show(findings)
        if not examination.healthy(findings):
            raise typer.Exit(1)


@app.command()
def jars() -> None:
    """Fetches the two Delta Lake JARs of the spark engine (10 MB). The embedded engine needs none.

    Example: `goldpath jars`
    """
    with errors_shown():
        from pipelines import settings
        from pipelines.engine.jars import fetch_jars

        fetch_jars(settings.get().root, report=typer.echo)


@lineage_app.command("prediction")
def lineage_prediction(
    prediction_id: Annotated[str, typer.Argument(metavar="ID", help="The id that the service answered with.")],
    as_json: AsJson = False,
) -> None:
    """From one prediction back to its model, its training data, and the file and row behind each feature.

    Example: `goldpath lineage prediction 01K9ZQ4T7G`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.provenance import chain

        found = chain.prediction_chain(platform, prediction_id)
        if as_json:
            print_json(found)
        else:
            from rich.console import Console

            Console().print(chain.tree(found))


@cost_app.command("report")
def cost_report(
    by: Annotated[str, typer.Option(metavar="TAG", help="A cost tag, or a FOCUS column.")] = "workload_class",
    as_json: AsJson = False,
) -> None:
    """What asset runs cost, by a tag, largest first.

    Example: `goldpath cost report --by cost_centre`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.cost import focus, report

        rows = report.report(platform.lakehouse.arrow(platform.lakehouse.current(focus.COSTS)), by=by)
        if as_json:
            print_json(rows)
        else:
            _show_costs(rows, by)


def _show_costs(rows: list[dict[str, Any]], by: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(by)
    for column in ("cost", "currency", "asset runs"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row[by], f"{row['cost']:.6f}", row["currency"], str(row["runs"]))
    Console().print(table)
