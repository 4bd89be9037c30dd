"""`goldpath cost`: the cost of asset runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, plain_table, print_json, say

app = typer.Typer(help="The cost of asset runs.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """The cost of asset runs."""


@app.command("report")
def cost_report(
    by: Annotated[str, typer.Option(metavar="TAG", help="A cost tag or a FOCUS column.")] = "workload_class",
    as_json: AsJson = False,
) -> None:
    """The cost of asset runs, summed by a tag, largest first.

    Example: `goldpath cost report --by cost_centre`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.cost import focus, report

        charges = platform.lakehouse.snapshot(focus.COSTS).arrow()
        rows = report.report(charges, by=by)
        for parts, runs in report.unmetered(charges).items():
            say(f"note: the costs of {runs} asset runs do not include {parts}, whose cost is unknown", err=True)
        if as_json:
            print_json(rows)
        else:
            _show_costs(rows, by)


def _show_costs(rows: list[dict[str, Any]], by: str) -> None:
    from pipelines.machine.terminal import Terminal

    table = plain_table(by, "cost", "currency", "asset runs", right=("cost", "currency", "asset runs"))
    for row in rows:
        table.add_row(row[by], f"{row['cost']:.6f}", row["currency"], str(row["runs"]))
    Terminal().print(table)
