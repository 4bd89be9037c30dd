"""What `goldpath features` tells: which views there are, who reads them, and what hangs on a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError, UsageError
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureService, FeatureView, qualified, stored_views
from pipelines.provenance.column_sources import Column, newest_columns

if TYPE_CHECKING:
    from pipelines.contracts.model import Contract
    from pipelines.models.spec import ModelSpec
    from pipelines.orchestration.members import Members

_INTEGERS = ("int", "bigint")


@dataclass(frozen=True, slots=True)
class View:
    """One version of a view in the store of the domain whose services read it.

    Attributes:
        domain: That domain.
        view: The version of the view; its table may be of another domain.
        services: The services that read it.
        models: The models that read these.
    """

    domain: str
    view: FeatureView
    services: tuple[FeatureService, ...]
    models: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name among those of all domains, which ends with the version from the second on."""
        return qualified(self.domain, self.view.stored_name)

    def facts(self) -> dict[str, Any]:
        """What it is, as JSON holds it."""
        return {
            "view": self.name,
            "domain": self.domain,
            "version": self.view.version,
            "table": str(self.view.table),
            "owner": self.view.contract.owner,
            "keys": list(self.view.keys),
            "features": list(self.view.fields),
            "services": [service.full_name for service in self.services],
            "models": list(self.models),
        }


def views(domains: Mapping[str, Members]) -> list[View]:
    """All versions of views that a service reads, by domain."""
    found = []
    for name, members in sorted(domains.items()):
        for view in stored_views(members.services):
            services = tuple(service for service in members.services if str(view.table) in service.tables.values())
            models = tuple(spec.registered_name for spec in models_of(domains, services))
            found.append(View(name, view, services, models))
    return found


def models_of(domains: Mapping[str, Members], services: Iterable[FeatureService]) -> list[ModelSpec]:
    """The models of every domain that read one of the services."""
    names = {service.full_name for service in services}
    specs = [spec for members in domains.values() for spec in members.models]
    return [spec for spec in specs if spec.features.full_name in names]


def services(domains: Mapping[str, Members]) -> dict[str, FeatureService]:
    """All feature services by full name."""
    return {service.full_name: service for members in domains.values() for service in members.services}


def view_named(domains: Mapping[str, Members], name: str) -> View:
    """The view `domain.view`, or a further version of it, `domain.view_v2`; raises NotFoundError."""
    known = {view.name: view for view in views(domains)}
    if name not in known:
        raise _unknown("feature view", name, [*known])
    return known[name]


def readers(domains: Mapping[str, Members], name: str) -> tuple[str, tuple[FeatureService, ...]]:
    """The name of the view `domain.view` in its domain, and the services that read it; raises NotFoundError."""
    domain, _, view = name.partition(".")
    members = domains.get(domain)
    reading = tuple(service for service in members.services if view in service.versions) if members else ()
    if not reading:
        known = {qualified(each.domain, each.view.name) for each in views(domains)}
        raise _unknown("feature view", name, sorted(known))
    return view, reading


def contacts(contract: Contract) -> list[str]:
    """Whom to ask about a table: the team, and the channels of the contract's `support`."""
    import yaml

    document = yaml.safe_load(contract.path.read_text(encoding="utf-8"))
    channels = [entry for entry in document.get("support") or [] if isinstance(entry, dict)]
    named = [" ".join(str(entry[key]) for key in ("channel", "url") if entry.get(key)) for entry in channels]
    return [f"team {contract.owner}", *filter(None, named)]


def sources(events: Iterable[Mapping[str, Any]], table: str) -> dict[str, list[str]]:
    """The columns `table.column` that each column of a table was computed from by its newest run."""
    newest = newest_columns(events).get(table, {})
    return {field: sorted({f"{name}.{column}" for name, column in columns}) for field, columns in newest.items()}


def service_named(domains: Mapping[str, Members], name: str) -> FeatureService:
    """The service `domain.service`; raises NotFoundError."""
    known = services(domains)
    if name not in known:
        raise _unknown("feature service", name, [*known])
    return known[name]


def model_named(domains: Mapping[str, Members], name: str) -> ModelSpec:
    """The model `domain.model`; raises NotFoundError."""
    known = {spec.registered_name: spec for members in domains.values() for spec in members.models}
    if name not in known:
        raise _unknown("model", name, [*known])
    return known[name]


def _unknown(kind: str, name: str, known: list[str]) -> NotFoundError:
    return NotFoundError(
        object=f"{kind} {name!r}",
        observed="no domain that loads declares it",
        expected=f"one of {', '.join(sorted(known)) or 'none: no domain declares one'}",
        next_step="use a name that `goldpath features` lists",
    )


def entity(pairs: Iterable[str], keys: Iterable[str], types: Mapping[str, str]) -> dict[str, Any]:
    """The values of an entity's keys from arguments `key=value`.

    Args:
        pairs: The arguments.
        keys: The keys that are needed.
        types: The type of each key.

    Raises:
        UsageError: if one is missing, unknown, given twice or of another type.
    """
    needed, given = list(keys), {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or key not in needed or key in given:
            raise _wrong_keys(pair, "given twice" if key in given else "no key and value", needed)
        if types[key] in _INTEGERS and not text.removeprefix("-").isdecimal():
            raise _wrong_keys(pair, f"its type is {types[key]}", needed)
        given[key] = int(text) if types[key] in _INTEGERS else text
    if absent := [key for key in needed if key not in given]:
        raise _wrong_keys(" ".join(pairs) or "no key", f"without {', '.join(absent)}", needed)
    return {key: given[key] for key in needed}


def _wrong_keys(given: str, observed: str, keys: list[str]) -> UsageError:
    form = " ".join(f"{key}=VALUE" for key in keys)
    return UsageError(
        object=f"entity {given}", observed=observed, expected=form, next_step=f"write it so: {form}, each key once"
    )


def key_types(found: Iterable[FeatureView]) -> dict[str, str]:
    """The type of each key of the views."""
    return {key: view.contract.column(key).type for view in found for key in view.keys}


def downstream(
    events: Iterable[Mapping[str, Any]], start: Iterable[Column], declared: Mapping[Column, Iterable[Column]]
) -> set[Column]:
    """The columns that depend on some columns, by the newest run of each table; these columns are among them.

    Args:
        events: OpenLineage events, oldest first.
        start: The columns.
        declared: What depends on a column besides.
    """
    direct = {column: set(depend) for column, depend in declared.items()}
    for table, fields in newest_columns(events).items():
        for field, sources in fields.items():
            for source in sources:
                direct.setdefault(source, set()).add((table, field))
    found, new = set(start), list(start)
    while new:
        reached = direct.get(new.pop(), set()) - found
        found |= reached
        new += reached
    return found


def hang_on_keys(domains: Mapping[str, Members]) -> dict[Column, list[Column]]:
    """What depends on the keys and the instant of a view: all its features, such as a number of rows."""
    return {
        (str(view.view.table), key): [(str(view.view.table), field) for field in view.view.fields]
        for view in views(domains)
        for key in (*view.view.keys, EVENT_TIMESTAMP)
    }


def computed_from(service: FeatureService, features: Iterable[str]) -> list[str]:
    """The on-demand columns of a service that are computed from some of its features, `view__feature`."""
    known, computed = set(features), []
    for declared in service.on_demand:
        if known & declared.inputs.keys():
            computed += declared.full_names
            known |= set(computed)
    return computed


def impact(domains: Mapping[str, Members], columns: Iterable[Column]) -> dict[str, list[str]]:
    """The tables, features, services, models and deployments that hang on some columns.

    A model is named where its service reads one of the features, or its training set holds one of the columns.
    """
    reached = set(columns)
    tables = {table for table, _ in reached}
    hit = [
        (view, field)
        for view in views(domains)
        for field in (*view.view.fields, *view.view.keys, EVENT_TIMESTAMP)
        if (str(view.view.table), field) in reached
    ]
    read = {service.full_name for view, _ in hit for service in view.services}
    models = [
        spec
        for members in domains.values()
        for spec in members.models
        if spec.features.full_name in read or str(spec.training_set.table) in tables
    ]
    full_names = {f"{view.view.name}__{field}" for view, field in hit}
    computed = {
        f"{service.full_name}:{name}"
        for service in {service.full_name: service for view, _ in hit for service in view.services}.values()
        for name in computed_from(service, full_names)
    }
    owners = {view.view.contract.owner for view, _ in hit} | {spec.domain.owner for spec in models}
    deployed = {"/".join(spec.key("serving")) for spec in models}
    assets = {"/".join(spec.key.path) for members in domains.values() for spec in members.specs}
    return {
        "columns": sorted(f"{table}.{column}" for table, column in reached),
        "features": sorted({f"{view.name}:{field}" for view, field in hit} | computed),
        "feature_services": sorted(read),
        "models": sorted(spec.registered_name for spec in models),
        "services": sorted(deployed & assets),
        "owners": sorted(owners),
    }
