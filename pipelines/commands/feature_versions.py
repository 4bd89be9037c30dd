"""`goldpath features compare|promote|rollback`: two versions of a feature view, and which of them is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, plain_table, print_json, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.commands.feature_facts import View
    from pipelines.governed.platform import Platform
    from pipelines.orchestration.members import Members

ViewName = Annotated[str, typer.Argument(metavar="VIEW", help="A feature view, as domain.view.")]
Because = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why, for people who read it later.")]


def compare(
    name: ViewName,
    one: Annotated[int, typer.Argument(metavar="VERSION", help="The version that others are compared with.")],
    other: Annotated[int, typer.Argument(metavar="VERSION", help="The version that is compared.")],
    as_json: AsJson = False,
) -> None:
    """Compares two versions of a view: rows, equal values, nulls, distributions, and what champions answer with each.

    The result is noted in the record of the view.

    Example: `goldpath features compare shop.customer_orders 1 2`
    """
    with errors_shown(), opened_platform() as platform:
        from dataclasses import asdict

        from feature_repo import comparison
        from pipelines.commands import feature_facts
        from pipelines.definitions import domains
        from pipelines.features import versions
        from pipelines.provenance.version_effect import effect

        view, services = feature_facts.readers(domains(), name)
        service = services[0]
        at = versions.current(platform.settings, service)
        pair = [service.at(at | {view: number}).versions[view][number] for number in (one, other)]
        house = platform.lakehouse
        frames = [house.read(house.current(each.table)) for each in pair]
        found = comparison.compare((pair[0], pair[1]), (frames[0], frames[1]))
        models = feature_facts.models_of(domains(), services)
        effects = [effect(platform, spec, view, (one, other)) for spec in models]
        noted = asdict(found) | {
            "tables": [str(house.current(each.table)) for each in pair],
            "effects": [asdict(each) for each in effects if each],
        }
        versions.note_comparison(platform.settings, service.domain, view, noted)
        if as_json:
            print_json(noted)
        else:
            _show_comparison(noted)


def promote(
    name: ViewName,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="The version that is read from now on.")],
    because: Because,
) -> None:
    """Makes a version of a view the current one: new training sets read it; models go on with the one they learned.

    Example: `goldpath features promote shop.customer_orders 2 --because "counts returns, too"`
    """
    _decide(name, because, version)


def rollback(name: ViewName, because: Because) -> None:
    """Makes the version current again that was so before the last promotion.

    Example: `goldpath features rollback shop.customer_orders --because "doubles returns"`
    """
    _decide(name, because, None)


def _decide(name: str, because: str, version: int | None) -> None:
    """Promotes a version, or rolls back where there is none."""
    with errors_shown(), opened_platform() as platform:
        from feature_repo.state import DomainStore
        from feature_repo.store import register
        from pipelines.commands import feature_facts
        from pipelines.definitions import domains, feature_services
        from pipelines.features import versions

        view, services = feature_facts.readers(domains(), name)
        if version is None:
            decision = versions.rollback(platform.settings, services, view, because=because)
        else:
            decision = versions.promote(platform.settings, services, view, version, because=because)
        domain = services[0].domain
        register(DomainStore(platform.settings, domain), feature_services()[domain])
        say(f"version {decision.version} of {name} is the current one, decided by {decision.decided_by}")
        for spec in feature_facts.models_of(domains(), services):
            assets = (str(spec.training_set.table), *("/".join(spec.key(kind)) for kind in ("training", "models")))
            say(f"next: goldpath materialize {' '.join(assets)}")


def facts(platform: Platform, domains: Mapping[str, Members], found: View) -> dict[str, Any]:
    """The versions of a view with their models, and the decisions about them, as JSON holds it."""
    from dataclasses import asdict

    from pipelines.commands import feature_facts
    from pipelines.features import versions
    from pipelines.models.feature_versions import trained_with
    from pipelines.models.registry import Registry
    from pipelines.provenance import pins

    name = found.view.name
    current = {versions.current(platform.settings, service)[name] for service in found.services}
    declared = {number: view for service in found.services for number, view in service.versions[name].items()}
    registry = Registry(platform.settings)
    specs = {spec.registered_name: spec for spec in feature_facts.models_of(domains, found.services)}
    trained: dict[int, list[str]] = {number: [] for number in declared}
    for model, record in pins.run_records(platform):
        spec = specs.get(model.partition("@")[0])
        if spec is not None:
            number = trained_with(record).get(name, min(declared))
            champion = registry.champion(spec.registered_name)
            mark = " (champion)" if champion and f"{champion.name}@{champion.version}" == model else ""
            trained.setdefault(number, []).append(f"{model}{mark}")
    record = versions.read(platform.settings, found.domain).get(name)
    return {
        "versions": [
            {
                "version": number,
                "table": str(declared[number].table) if number in declared else None,
                "current": number in current,
                "models": sorted(models),
            }
            for number, models in sorted(trained.items())
        ],
        "decisions": [asdict(decision) for decision in record.decisions] if record else [],
    }


def show(found: Mapping[str, Any]) -> None:
    """Prints what `facts` returns."""
    from pipelines.machine.terminal import Terminal

    table = plain_table("version", "table", "trained models")
    for each in found["versions"]:
        version, models = f"{each['version']}{' current' if each['current'] else ''}", ", ".join(each["models"]) or "-"
        table.add_row(version, each["table"] or "no longer declared", models)
    Terminal().print(table)
    for decision in found["decisions"]:
        say(_words(decision))


def _words(decision: Mapping[str, Any]) -> str:
    act = "promoted" if decision["act"] == "promote" else "rolled back to"
    compared = "" if decision["compared"] or decision["act"] == "rollback" else ", without a comparison"
    who = f"{decision['decided_at'][:19]} UTC by {decision['decided_by']}"
    return f"{who}: {act} version {decision['version']}{compared}: {decision['because']}"


def _show_comparison(found: Mapping[str, Any]) -> None:
    from pipelines.machine.terminal import Terminal

    one, other = found["versions"]
    for fact in ("rows", "entities"):
        say(f"{fact:9s} {found[fact][0]:,} in version {one}, {found[fact][1]:,} in version {other}")
    say(f"{'common':9s} {found['common']:,} rows of the same entity and instant")
    numbers = ("equal", f"missing in {one}", f"missing in {other}", "distance")
    table = plain_table("feature", *numbers, right=numbers, no_wrap=["feature"])
    for each in found["features"]:
        shares = [_share(share) for share in (each["equal"], *each["missing"])]
        distance = "-" if each["distance"] is None else f"{each['distance']:.3f}"
        table.add_row(each["feature"], *shares, distance)
    Terminal().print(table)
    for each in found["effects"]:
        before, after = each["figures"]
        say(
            f"{each['model']} on its {each['rows']:,} newest labelled rows: {each['metric']} {before:.4f} with version "
            f"{one}, {after:.4f} with version {other}; {each['changed']:.1%} of its decisions change"
        )
    if not found["effects"]:
        say("no model that reads the view has a champion")


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
