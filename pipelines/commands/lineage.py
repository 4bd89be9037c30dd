"""`goldpath lineage`: the sources of a prediction."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, print_json, say

app = typer.Typer(help="The sources of a prediction.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """The sources of a prediction."""


@app.command("prediction")
def lineage_prediction(
    prediction_id: Annotated[str, typer.Argument(metavar="ID", help="The prediction's id in the service's response.")],
    as_json: AsJson = False,
) -> None:
    """Traces a prediction to its model, its training data, and the source file and row of each feature.

    Example: `goldpath lineage prediction 01K9ZQ4T7G`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.provenance import chain
        from pipelines.provenance.skipped_lines import skipped_lines

        for lines in skipped_lines(platform.settings):
            say(f"skipped, since it is no record: {lines}", err=True)
        lineage = chain.prediction_chain(platform, prediction_id)
        if as_json:
            print_json(lineage)
        else:
            from pipelines.machine.terminal import Terminal

            Terminal().print(chain.tree(lineage))
