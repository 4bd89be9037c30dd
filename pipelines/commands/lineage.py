"""`goldpath lineage`: where something came from."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, print_json

app = typer.Typer(help="Where something came from.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Where something came from."""


@app.command("prediction")
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
