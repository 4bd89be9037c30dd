"""`goldpath features drift`: how far the features of a model are from those that it was trained on."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, plain_table, print_json, say


def drift(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model, as domain.model.")],
    as_json: AsJson = False,
) -> None:
    """Compares the features of the model that serves with its training: in the newest rows, and in its answers.

    Exit code 1: a feature has drifted.

    Example: `goldpath features drift shop.returns`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import feature_facts
        from pipelines.definitions import domains
        from pipelines.machine.terminal import Terminal
        from pipelines.models.drift import measure
        from pipelines.models.drift_asset import rows

        spec = feature_facts.model_named(domains(), model)
        house = platform.lakehouse
        tables = {view.table.source_name: house.read(house.current(view.table)) for view in spec.features.views}
        found = measure(platform.settings, spec, tables, platform.now())
        if as_json:
            compared = [{"of": each.of, "words": each.words, "features": rows(each)} for each in found.drifts]
            print_json({"model": model, "champion": str(found.champion), "as_of": found.as_of, "drifts": compared})
        for each in found.drifts if not as_json else ():
            say(each.words)
            if each.comparisons:
                titles = ("feature", "distance", "missing", "drifted")
                table = plain_table(*titles, right=titles[1:3], no_wrap=titles)
                for row in rows(each):
                    drifted = "yes" if row["drifted"] else "-"
                    table.add_row(row["feature"], row["distance"], row["missing_now"], drifted)
                Terminal().print(table)
                for row in rows(each):
                    if row["drifted"]:
                        say(f"{row['feature']} grew most in {row['most_grown']}")
        if any(each.drifted for each in found.drifts):
            raise typer.Exit(1)
