"""`goldpath features`: the feature views, their values now and then, their parity, and what hangs on a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import feature_versions
from pipelines.commands.feature_drift import drift
from pipelines.commands.feature_freshness import freshness
from pipelines.commands.feature_quality import quality
from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, plain_table, print_json, say
from pipelines.features.declaration import SHOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.governed.platform import Platform

app = typer.Typer(invoke_without_command=True)
for command in (feature_versions.compare, feature_versions.promote, feature_versions.rollback):
    app.command()(command)
app.command("freshness")(freshness)
app.command("quality")(quality)
app.command("drift")(drift)
Service = Annotated[str, typer.Argument(metavar="SERVICE", help="A feature service, as domain.service.")]
ViewName = Annotated[str, typer.Argument(metavar="VIEW", help="A feature view, as domain.view.")]
Reads = Annotated[
    str, typer.Option("--reads", metavar="CLASS", help="The data class up to which the caller may see values.")
]
Keys = Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="The keys of the entity.")]


@app.callback()
def features(context: typer.Context, as_json: AsJson = False) -> None:
    """Feature views: their values now and then, their versions, and who depends on them. Without a command: the list.

    Example: `goldpath features`
    """
    if not context.invoked_subcommand:
        list_views(as_json)


@app.command("list")
def list_views(as_json: AsJson = False) -> None:
    """Lists all feature views with their keys, owners, and the models that read them.

    Example: `goldpath features list`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import feature_facts
        from pipelines.definitions import domains

        found: list[dict[str, Any]] = [
            view.facts()
            | {"current": _is_current(platform, view), "online_as_of": _online_as_of(platform, view.domain)}
            for view in feature_facts.views(domains())
        ]
        if as_json:
            print_json(found)
            return
        columns = ("view", "version", "keys", "features", "owner", "models")
        table = plain_table(*columns, right=["features"], no_wrap=["view"])
        for facts in found:
            keys, models = ", ".join(facts["keys"]), ", ".join(facts["models"]) or "-"
            version = f"{facts['version']}{'' if facts['current'] else ' not read'}"
            table.add_row(facts["view"], version, keys, str(len(facts["features"])), facts["owner"], models)
        _print(table)
        for domain, as_of in {facts["domain"]: facts["online_as_of"] for facts in found}.items():
            say(f"online store of {domain}: " + (f"as of {as_of}" if as_of else "not filled yet"))


@app.command("show")
def show(name: ViewName, as_json: AsJson = False) -> None:
    """Shows a view: what its features mean and come from, their data classes, its versions, and who reads them.

    Example: `goldpath features show shop.customer_orders`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import feature_facts
        from pipelines.definitions import domains

        found = feature_facts.view_named(domains(), name)
        contract = found.view.contract
        sources = feature_facts.sources(platform.lineage.events(), str(found.view.table))
        columns: list[dict[str, str]] = [
            {
                "column": column.name,
                "type": column.type,
                "class": contract.data_class(column.name)
                + (f" (declassified: {column.declassified})" if column.declassified else ""),
                "description": column.description,
                "from": ", ".join(sources.get(column.name, [])),
            }
            for column in contract.columns
        ]
        versions = feature_versions.facts(platform, domains(), found)
        facts = found.facts() | {
            "contacts": feature_facts.contacts(contract), "online_as_of": _online_as_of(platform, found.domain)
        }  # fmt: skip
        if as_json:
            print_json(facts | versions | {"description": contract.purpose, "columns": columns})
            return
        say(f"{found.name}: {contract.purpose}\nGrain: {contract.grain}\n")
        for fact in ("table", "version", "contacts", "keys", "services", "models", "online_as_of"):
            value = facts[fact]
            text = ", ".join(value) if isinstance(value, list) else str(value or "")
            say(f"{fact.replace('_', ' '):13s} {text or '-'}")
        table = plain_table(*columns[0], no_wrap=["column"])
        for column in columns:
            table.add_row(*column.values())
        _print(table)
        feature_versions.show(versions)


@app.command("get")
def get(service: Service, keys: Keys, reads: Reads = SHOWN, as_json: AsJson = False) -> None:
    """Reads the features of an entity from the online store, as a prediction service with current versions does.

    Features above the data class of `--reads` are named, and their values are not shown.

    Example: `goldpath features get shop.returns_v1 customer_id=c-17`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import feature_facts
        from pipelines.definitions import domains
        from pipelines.features import versions
        from serving.predict.features import OnlineFeatures

        found = feature_facts.service_named(domains(), service)
        asked = feature_facts.entity(keys, found.keys, feature_facts.key_types(found.views))
        read = found.at(versions.current(platform.settings, found))
        [reading] = OnlineFeatures(platform.settings, read).read([asked])
        withheld = dict(pair for view in read.views for pair in _withheld(view, reads, view.name + "__"))
        rows: list[dict[str, Any]] = [
            {"feature": name, "value": None, "known_from": None, "missing": withheld[name]}
            if name in withheld
            else {"feature": name, "value": feature.value, "known_from": feature.timestamp, "missing": None}
            for name, feature in reading.features.items()
        ]
        rows += [
            {"feature": missing.feature, "value": None, "known_from": None, "missing": missing.reason}
            for missing in reading.missing
        ]
        if as_json:
            print_json({"service": service, "entity": asked, "features": rows})
            return
        table = plain_table("feature", "value", "known from", right=["value"])
        for row in rows:
            table.add_row(row["feature"], _shown(row["value"]), row["known_from"] or f"({row['missing']})")
        _print(table)


@app.command("history")
def history(
    view: ViewName,
    keys: Keys,
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows.")] = 20,
    reads: Reads = SHOWN,
    as_json: AsJson = False,
) -> None:
    """Shows the rows of an entity in a view's table, newest first: what was known from which instant on.

    Features above the data class of `--reads` are left out, and named below.

    Example: `goldpath features history shop.customer_orders customer_id=c-17 --limit 5`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import feature_facts
        from pipelines.definitions import domains
        from pipelines.features.declaration import EVENT_TIMESTAMP

        found = feature_facts.view_named(domains(), view).view
        asked = feature_facts.entity(keys, found.keys, feature_facts.key_types([found]))
        withheld = dict(_withheld(found, reads))
        fields = [name for name in found.fields if name not in withheld]
        rows = _rows_of(platform, found, fields, asked, limit)
        if as_json:
            print_json({"view": view, "entity": asked, "rows": rows, "withheld": withheld})
            return
        table = plain_table(EVENT_TIMESTAMP, *fields)
        for row in rows:
            table.add_row(*[_shown(row[name]) for name in (EVENT_TIMESTAMP, *fields)])
        _print(table)
        if not rows:
            say(f"{found.table} has no row of {' '.join(keys)}")
        elif len(rows) == limit:
            say(f"the newest {limit} rows, and there may be more: --limit")
        for name, reason in withheld.items():
            say(f"left out: {name}, {reason}")


@app.command("parity")
def parity(
    domain: Annotated[str, typer.Argument(help="The domain whose online store is compared.")],
    entities: Annotated[int, typer.Option(min=0, help="At most so many entities of each view; 0: all.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Compares the online store with the as-of join, value by value, for sampled entities. Exit code 1: they differ.

    Example: `goldpath features parity shop --entities 0`
    """
    with errors_shown(), opened_platform() as platform:
        from feature_repo.parity import compare
        from feature_repo.state import DomainStore
        from pipelines.definitions import domains, moved_views

        services = _services_of(domains(), domain)
        place = DomainStore(platform.settings, domain)
        tables = {name: table for service in services for name, table in service.tables.items()}
        with place.writing():
            frames = {name: _newest(platform, table) for name, table in tables.items()}
            found = compare(place, services, frames, pushed=moved_views(domain), entities=entities or None)
        if as_json:
            import dataclasses

            print_json(dataclasses.asdict(found))
        else:
            say(f"features/{domain}/online as of {found.as_of.isoformat()}: {found.words}")
            table = plain_table(
                "view", *(numbers := ("entities", "values", "ahead by events", "differences")), right=numbers
            )
            for each in found.views:
                counts = (each.entities, each.values, each.ahead, len(each.differences))
                table.add_row(each.view, *(f"{count:,}" for count in counts))
            _print(table)
        if found.differences:
            if not as_json:
                say(f"next: goldpath materialize features/{domain}/online --recompute")
            raise typer.Exit(1)


@app.command("impact")
def impact(
    name: Annotated[str, typer.Argument(metavar="TABLE[.COLUMN]", help="zone/domain/table, or one of its columns.")],
    as_json: AsJson = False,
) -> None:
    """Lists what hangs on a table or a column: features, services and models, by the lineage of the newest runs.

    Example: `goldpath features impact silver/shop/orders.amount`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import feature_facts
        from pipelines.definitions import domains

        start = _columns(platform, name)
        declared = domains()
        reached = feature_facts.downstream(platform.lineage.events(), start, feature_facts.hang_on_keys(declared))
        found = feature_facts.impact(declared, reached)
        if as_json:
            print_json(found)
            return
        for kind, names in found.items():
            if kind != "columns":
                say(f"{kind.replace('_', ' ')}: {', '.join(names) or '-'}")


def _columns(platform: Platform, name: str) -> list[tuple[str, str]]:
    """The columns that `zone/domain/table` or `zone/domain/table.column` names; raises NotFoundError."""
    from pipelines.errors import NotFoundError
    from pipelines.tables import TableId

    table_name, _, column = name.partition(".")
    contract = platform.contracts.get(TableId.parse(table_name))
    columns = [each.name for each in contract.columns] if contract else []
    if not columns or (column and column not in columns):
        raise NotFoundError(
            object=f"{'column' if column else 'table'} {name}",
            observed=f"the contract has {', '.join(columns)}" if columns else "no contract describes the table",
            expected="a table with a contract, or one of its columns",
            next_step="use a name that `goldpath tables` lists",
        )
    return [(table_name, each) for each in ([column] if column else columns)]


def _services_of(domains: Mapping[str, Any], domain: str) -> Any:
    """The feature services of a domain; raises NotFoundError."""
    from pipelines.errors import NotFoundError

    members = domains.get(domain)
    if members is None or not members.services:
        raise NotFoundError(
            object=f"online store of domain {domain}",
            observed="it declares no feature service" if members else "no domain that loads has this name",
            expected=f"one of {', '.join(sorted(name for name, found in domains.items() if found.services))}",
            next_step="use a domain that `goldpath features` lists",
        )
    return members.services


def _newest(platform: Platform, table: str) -> Any:
    from pipelines.tables import TableId

    return platform.lakehouse.read(platform.lakehouse.current(TableId.parse(table)))


def _withheld(view: Any, reads: str, prefix: str = "") -> list[tuple[str, str]]:
    """The features of a view above a data class, each with the reason why its value is not shown."""
    from pipelines.features.declaration import require_class

    require_class("option --reads", reads)
    above = [name for name in view.above(reads) if name in view.fields]
    return [(f"{prefix}{name}", f"{view.data_class(name)}: --reads {view.data_class(name)}") for name in above]


def _rows_of(
    platform: Platform, view: Any, fields: Sequence[str], entity: Mapping[str, Any], limit: int
) -> list[dict[str, Any]]:
    """The rows of an entity in a view's table, newest first."""
    from pyspark.sql import functions as F

    from pipelines.features.declaration import EVENT_TIMESTAMP

    rows = _newest(platform, str(view.table))
    for key, value in entity.items():
        rows = rows.where(F.col(key) == F.lit(value))
    rows = rows.orderBy(F.col(EVENT_TIMESTAMP).desc()).limit(limit).select(EVENT_TIMESTAMP, *fields)
    return rows.toArrow().to_pylist()


def _is_current(platform: Platform, view: Any) -> bool:
    """Whether a version of a view is the one that its services read now."""
    from pipelines.features import versions

    current = [versions.current(platform.settings, service)[view.view.name] for service in view.services]
    return view.view.version in current


def _online_as_of(platform: Platform, domain: str) -> str | None:
    """The instant to which a domain's online store was moved; None before its first filling."""
    from feature_repo.state import DomainStore

    state = DomainStore(platform.settings, domain).state()
    return state.as_of.isoformat() if state else None


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def _print(table: Any) -> None:
    from pipelines.machine.terminal import Terminal

    Terminal().print(table)
