"""`goldpath features quality`: the figures of a view's newest rows, and what is wrong with them."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, plain_table, print_json, say


def quality(
    name: Annotated[str, typer.Argument(metavar="VIEW", help="A feature view, as domain.view.")],
    as_json: AsJson = False,
) -> None:
    """Shows the figures of a view's newest rows, what breaks its contract, and what its past does not explain.

    Exit code 1: the rows break the contract.

    Example: `goldpath features quality shop.customer_orders`
    """
    with errors_shown(), opened_platform() as platform:
        from dataclasses import asdict
        from datetime import UTC, datetime

        from pipelines.commands import feature_facts
        from pipelines.definitions import domains
        from pipelines.features import quality_check
        from pipelines.features.quality import measure, rounded
        from pipelines.machine.terminal import Terminal

        view = feature_facts.view_named(domains(), name).view
        table = platform.lakehouse.read(platform.lakehouse.current(view.table))
        found = measure(view, table, platform.now(), datetime.now(UTC))
        profile, rows = found.profile, quality_check.rows(found)
        if as_json:
            facts = {"view": name, "as_of": profile.as_of, "newest": profile.newest, "features": rows}
            print_json(facts | {"findings": [asdict(finding) for finding in found.findings]})
        else:
            age = "none" if profile.age is None else f"{rounded(profile.age)} old"
            period = rounded(profile.period)
            say(f"{name}: newest row {age}; figures of the {profile.rows[0]:,} rows of the newest {period}")
            columns = [column for column in rows[0] if column not in ("view", "rows", "finding")]
            shown = plain_table(*columns, right=columns[1:], no_wrap=columns)
            for row in rows:
                shown.add_row(*(str(row[column]) for column in columns))
            Terminal().print(shown)
            for finding in found.findings:
                say(f"{'FAIL' if finding.severity == 'error' else 'warn'} {finding}")
        if any(finding.severity == "error" for finding in found.findings):
            raise typer.Exit(1)
