"""What a domain declares of its features: views over gold tables, and the services that models read.

A view is a gold table whose key holds `event_timestamp`, the instant from which a row is known, UTC. Its fields are the
other columns of the table's contract. `feature_repo` makes Feast's objects of these declarations.

A table `<view>_v<number>` is a further version of a view: a second gold table beside the first, with the same keys. Its
features have the names of the first, `view__feature`, so training sets and models keep their columns. Which version is
read is not declared but decided: `versions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError, NotFoundError
from pipelines.features.on_demand import OnDemand, require_inputs
from pipelines.policy.rules import DATA_CLASSES
from pipelines.tables import TableId

#: The column that holds the instant from which a row is known, UTC.
EVENT_TIMESTAMP = "event_timestamp"
#: The types of features, and of the keys of entities. Feast's stores hold each value of them exactly.
FEATURE_TYPES = ("string", "int", "bigint", "float", "double", "boolean")
KEY_TYPES = ("string", "int", "bigint")
#: The data class up to which values are read and shown where nobody declares another.
SHOWN = "internal"


def qualified(domain: str, name: str) -> str:
    """The name of a domain's service, view or entity among those of all domains: `domain.name`."""
    return f"{domain}.{name}"


def view_and_version(table: TableId) -> tuple[str, int]:
    """The view that a gold table is a version of, and its number: `orders_v2` is version 2 of `orders`, itself 1."""
    match = re.fullmatch(r"(.+)_v([1-9]\d*)", table.table)
    return (match[1], int(match[2])) if match else (table.table, 1)


@dataclass(frozen=True, slots=True)
class FeatureView:
    """The rows of one gold table as features. Grain: one row per entity and instant.

    Attributes:
        contract: The contract of the table.
        without: The columns that are left out.

    Raises:
        DefinitionError: for a table of another zone, one without an instant or an entity in its key, a column of a type
            that Feast's online stores do not hold exactly, and a column to leave out that is no feature.
    """

    contract: Contract
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._require_instant_and_entity()
        columns = {column.name for column in self.contract.columns}
        if wrong := [name for name in self.without if name not in columns - {*self.keys, EVENT_TIMESTAMP}]:
            raise DefinitionError(
                object=f"feature view on {self.table}",
                observed=f"it leaves out {', '.join(wrong)}",
                expected=f"some of its features, {', '.join(FeatureView(self.contract).fields)}",
                next_step="correct `without`; keys cannot be left out",
            )
        for column in self.contract.columns:
            if column.name in self.without:
                continue
            allowed = KEY_TYPES if column.name in self.keys else FEATURE_TYPES
            if column.name != EVENT_TIMESTAMP and column.type not in allowed:
                raise DefinitionError(
                    object=f"feature view on {self.table}",
                    observed=f"column {column.name} has type {column.type}",
                    expected=f"one of {', '.join(allowed)}: what Feast's online stores hold exactly"
                    + (" and find again as a key" if column.name in self.keys else ""),
                    next_step=f"change the column in {self.contract.path} and its transform, such as an instant or a "
                    "date to a number of seconds or days, a decimal to a double",
                )

    def _require_instant_and_entity(self) -> None:
        contract, key = self.contract, self.contract.key_columns
        instant = EVENT_TIMESTAMP in key and contract.column(EVENT_TIMESTAMP).type == "timestamp"
        if contract.table.zone != "gold" or not instant or len(key) < 2:
            raise DefinitionError(
                object=f"feature view on {contract.table}",
                observed=f"zone {contract.table.zone}, key {', '.join(key) or 'none'}",
                expected=f"a gold table whose key is an entity and {EVENT_TIMESTAMP}, a timestamp: the instant from "
                "which a row is known",
                next_step=f"correct the key in {contract.path}, or declare the view on another table",
            )

    @property
    def table(self) -> TableId:
        """The gold table; its `source_name` names the view's Feast source."""
        return self.contract.table

    @property
    def name(self) -> str:
        """The view's name, which all its versions share."""
        return view_and_version(self.table)[0]

    @property
    def version(self) -> int:
        """The number of this version, from 1."""
        return view_and_version(self.table)[1]

    @property
    def stored_name(self) -> str:
        """The name of this version among the views of a store: that of its table."""
        return self.table.table

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that name an entity, in the order of the table's key."""
        return tuple(name for name in self.contract.key_columns if name != EVENT_TIMESTAMP)

    @property
    def fields(self) -> tuple[str, ...]:
        """The features: all columns but the keys, the instant, and those that are left out."""
        others = (*self.keys, EVENT_TIMESTAMP, *self.without)
        return tuple(c.name for c in self.contract.columns if c.name not in others)

    def data_class(self, column: str) -> str:
        """How protected a column is: its own `classification`, else the `data_class` of its table."""
        return self.contract.data_class(column)

    def above(self, clearance: str) -> list[str]:
        """The keys and features that are more protected than a class of `DATA_CLASSES`; those of no such class too."""
        allowed = DATA_CLASSES[: DATA_CLASSES.index(clearance) + 1]
        return [name for name in (*self.keys, *self.fields) if self.data_class(name) not in allowed]

    @property
    def full_names(self) -> tuple[str, ...]:
        """The features as training sets and models name them: `view__feature`."""
        return tuple(f"{self.name}__{field}" for field in self.fields)


@dataclass(frozen=True, slots=True)
class FeatureService:
    """The features that a model reads.

    Attributes:
        name: Its name, which ends with its version, such as `arrival_delay_v1`.
        domain: The domain that declares it, and whose online store holds its views.
        views: The views that it reads whole, of each view every version that is declared; those of other domains'
            tables are among them where it reads them.
        description: What is known, and when.
        owner: The team that answers for it.
        reads: The data class up to which it reads columns, of training sets and online.
        on_demand: What is computed from these features and from columns of the question, in training sets as in
            answers; one may take what another before it gives.

    Raises:
        DefinitionError: for a service without views, a column above `reads`, a view that it reads twice, two views with
            one name, a key that has two types, versions of a view that differ in their keys or a feature's type, and an
            on-demand input that is named after a view and is no feature of it with its type.
    """

    name: str
    domain: str
    views: tuple[FeatureView, ...]
    description: str
    owner: str
    reads: str = SHOWN
    on_demand: tuple[OnDemand, ...] = ()

    def __post_init__(self) -> None:
        self._require_clearance()
        if not self.views:
            raise DefinitionError(
                object=f"feature service {self.full_name}",
                observed="it has no view",
                expected="at least one view",
                next_step="name the gold tables that its model reads, with feature_view(contract(...))",
            )
        require_one_meaning(f"feature service {self.full_name}", self.views)
        tables = [view.table for view in self.views]
        if twice := [table for table in dict.fromkeys(tables) if tables.count(table) > 1]:
            raise DefinitionError(
                object=f"feature service {self.full_name}",
                observed=f"it reads {twice[0]} twice",
                expected="each view once",
                next_step="take one of them out",
            )
        full_names = set(self.full_names)
        types = {
            full_name: view.contract.column(field).type
            for view in self.views
            for field, full_name in zip(view.fields, view.full_names, strict=True)
            if full_name in full_names
        }
        require_inputs(f"feature service {self.full_name}", self.on_demand, types, {view.name for view in self.views})

    @property
    def computed(self) -> dict[str, str]:
        """The on-demand features as training sets and models name them, `name__output`, each with its type."""
        return {
            name: declared.outputs[output]
            for declared in self.on_demand
            for name, output in declared.full_names.items()
        }

    @property
    def asked(self) -> tuple[str, ...]:
        """The on-demand inputs that are no features: columns of the question."""
        names = (name for declared in self.on_demand for name in declared.inputs)
        known = {*self.full_names, *self.computed}
        return tuple(name for name in dict.fromkeys(names) if name not in known)

    def _require_clearance(self) -> None:
        """Raises DefinitionError for a class that does not exist, and for a column of a view that is above it."""
        require_class(f"feature service {self.full_name}", self.reads)
        for view in self.views:
            if above := view.above(self.reads):
                left_out = ", ".join(repr(name) for name in above)
                classes = sorted({view.data_class(name) for name in above})
                raise DefinitionError(
                    object=f"feature service {self.full_name}",
                    observed=f"{', '.join(above)} of {view.table} is {' and '.join(classes)}, and it reads up to "
                    f"{self.reads}",
                    expected=f"columns of the classes {', '.join(DATA_CLASSES)}, none above that of the service",
                    next_step=f"leave it out, feature_view(..., without=[{left_out}]), or have the owner of the data "
                    f'agree and declare reads="{classes[-1]}"',
                )

    @property
    def full_name(self) -> str:
        """Its name among the services of all domains: `domain.name`."""
        return qualified(self.domain, self.name)

    @property
    def tables(self) -> dict[str, str]:
        """The tables of its views, `zone/domain/table`, by Feast source name."""
        return {view.table.source_name: str(view.table) for view in self.views}

    @property
    def keys(self) -> tuple[str, ...]:
        """The entity keys of all its views, each once."""
        return tuple(dict.fromkeys(key for view in self.views for key in view.keys))

    @property
    def versions(self) -> dict[str, dict[int, FeatureView]]:
        """The versions of each view by number, lowest first, by the view's name."""
        names = dict.fromkeys(view.name for view in self.views)
        ordered = sorted(self.views, key=lambda view: view.version)
        return {name: {view.version: view for view in ordered if view.name == name} for name in names}

    @property
    def full_names(self) -> tuple[str, ...]:
        """The features that every version of their view has, as training sets and models name them: `view__feature`."""
        names: list[str] = []
        for versions in self.versions.values():
            first, *others = (view.full_names for view in versions.values())
            names += [name for name in first if all(name in other for other in others)]
        return tuple(names)

    def at(self, versions: Mapping[str, int]) -> FeatureService:
        """The service with one version of each view.

        Args:
            versions: The number of the version by the view's name.

        Raises:
            NotFoundError: for a version that is not declared.
        """
        for name, declared in self.versions.items():
            if versions[name] not in declared:
                raise NotFoundError(
                    object=f"version {versions[name]} of feature view {qualified(self.domain, name)}",
                    observed=f"the service {self.full_name} declares {', '.join(map(str, declared))}",
                    expected="a version that is declared",
                    next_step="declare its table again, or choose another version: "
                    f"goldpath features show {qualified(self.domain, name)}",
                )
        return replace(self, views=tuple(view for view in self.views if versions[view.name] == view.version))

    def over(self, sources: Iterable[str]) -> FeatureService:
        """The service with the versions whose tables, by Feast source name, are among `sources`."""
        given = set(sources)
        return replace(self, views=tuple(view for view in self.views if view.table.source_name in given))


@dataclass(frozen=True, slots=True)
class NoFeatures(FeatureService):
    """What a model reads whose question tells everything: no view, and nothing that is computed."""

    name: str = "nothing"
    domain: str = field(kw_only=True)
    views: tuple[FeatureView, ...] = ()
    description: str = "Nothing: the question tells everything."
    owner: str = field(kw_only=True)

    def __post_init__(self) -> None:
        """Holds nothing that could contradict itself."""


def require_one_meaning(name: str, views: Iterable[FeatureView]) -> None:
    """Raises DefinitionError if a name stands for two views, a key has two types, or versions of a view do not fit.

    Args:
        name: What reads the views together, for the error.
        views: The views.
    """
    tables: dict[tuple[str, int], TableId] = {}
    types: dict[str, tuple[str, TableId]] = {}
    firsts: dict[str, FeatureView] = {}
    for view in views:
        _require_fitting(name, firsts.setdefault(view.name, view), view)
        if (first := tables.setdefault((view.name, view.version), view.table)) != view.table:
            raise DefinitionError(
                object=name,
                observed=f"{first} and {view.table} are both its view {view.name}",
                expected="one table for each name of a view, and for each of its versions",
                next_step="rename one of the tables, or derive one of your own from it",
            )
        for key in view.keys:
            type_, table = types.setdefault(key, (view.contract.column(key).type, view.table))
            if view.contract.column(key).type != type_:
                raise DefinitionError(
                    object=name,
                    observed=f"key {key} is {type_} in {table} and {view.contract.column(key).type} in {view.table}",
                    expected="one type for each key, since one question gives one value of it",
                    next_step=f"give the column one type, or another name, in {view.contract.path}",
                )


def _require_fitting(name: str, one: FeatureView, other: FeatureView) -> None:
    """Raises DefinitionError unless two versions of a view have the same keys, and a type for each common feature."""

    def types(view: FeatureView) -> dict[str, str]:
        return {field: view.contract.column(field).type for field in view.fields}

    differing = [field for field, type_ in types(other).items() if types(one).get(field, type_) != type_]
    if set(one.keys) != set(other.keys) or differing:
        differs = differing[0] if differing else "the key"
        raise DefinitionError(
            object=name,
            observed=f"{differs} differs between {one.table} and {other.table}, versions of the view {one.name}",
            expected="the same keys in every version of a view, and one type of each feature: models keep their inputs",
            next_step=f"correct {other.contract.path}, or give the table a name that does not end with a version",
        )


def stored_views(services: Iterable[FeatureService]) -> tuple[FeatureView, ...]:
    """The views that the store of a domain with these services holds: every version, with what any service reads."""
    views: dict[TableId, FeatureView] = {}
    for view in (view for service in services for view in service.views):
        before = views.get(view.table, view)
        views[view.table] = replace(view, without=tuple(name for name in view.without if name in before.without))
    return tuple(views.values())


def is_shown(data_class: str) -> bool:
    """Whether values of a data class are shown to people and tools that declare none."""
    return data_class in DATA_CLASSES[: DATA_CLASSES.index(SHOWN) + 1]


def require_class(object_: str, data_class: str) -> None:
    """Raises DefinitionError for a data class that does not exist; the first argument names what has it."""
    if data_class not in DATA_CLASSES:
        raise DefinitionError(
            object=object_,
            observed=f"reads {data_class!r}",
            expected=f"one of {', '.join(DATA_CLASSES)}",
            next_step="name one of these data classes",
        )


def feature_view(contract: Contract, *, without: Sequence[str] = ()) -> FeatureView:
    """The view over a gold table, but for the columns `without`; raises DefinitionError as `FeatureView` does."""
    return FeatureView(contract, tuple(without))


def feature_views(contracts: Sequence[Contract]) -> tuple[FeatureView, ...]:
    """The views over those of the contracts that describe a table of features."""
    return tuple(
        FeatureView(contract)
        for contract in contracts
        if contract.table.zone == "gold" and EVENT_TIMESTAMP in contract.key_columns
    )
