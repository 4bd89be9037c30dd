"""What policy requires of an asset: owner, cost tags, and data classes not below those of what it is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipelines.contracts.model import COST_TAGS, Contract
from pipelines.errors import DefinitionError
from pipelines.lineage.column_lineage import ColumnLineage, Unknown

#: From the least to the most protected.
DATA_CLASSES = ("public", "internal", "confidential", "restricted")


def rank(data_class: str) -> int:
    """How protected a class is, from 0; one that is none of `DATA_CLASSES` is above them all."""
    return DATA_CLASSES.index(data_class) if data_class in DATA_CLASSES else len(DATA_CLASSES)


@dataclass(frozen=True, slots=True)
class ColumnClasses:
    """The data classes of a table's columns.

    Attributes:
        columns: Those of its contract's columns, by name.
        others: That of the columns which the platform adds.
    """

    columns: Mapping[str, str]
    others: str

    def of(self, column: str) -> str:
        """The class of a column."""
        return self.columns.get(column, self.others)

    @property
    def highest(self) -> str:
        """The class of the most protected column."""
        return max((self.others, *self.columns.values()), key=rank)


def require_tags(asset: str, *, owner: str, tags: Mapping[str, str]) -> None:
    """Checks, when an asset is defined, that it has an owner, every cost tag and a known data class.

    Args:
        asset: The asset's key, slash-joined.
        owner: The owning team.
        tags: Its cost tags.

    Raises:
        DefinitionError: naming the asset, and the tag that is missing or wrong.
    """
    if not owner:
        raise DefinitionError(
            object=f"asset {asset}",
            observed="it has no owner",
            expected="the team that is responsible for it",
            next_step="set the team in the contract (team.name) or in the decorator (owner=…)",
        )
    for tag in COST_TAGS:
        if not tags.get(tag):
            raise DefinitionError(
                object=f"asset {asset}",
                observed=f"tag {tag!r} is {tags.get(tag)!r}",
                expected=f"a value for each of {', '.join(COST_TAGS)}",
                next_step=f"set {tag!r} in the contract's customProperties.tags, or in the decorator's tags",
            )
    if tags["data_class"] not in DATA_CLASSES:
        raise DefinitionError(
            object=f"asset {asset}",
            observed=f"tag 'data_class' is {tags['data_class']!r}",
            expected=f"one of {', '.join(DATA_CLASSES)}",
            next_step="correct the tag in the contract's customProperties.tags, or in the decorator's tags",
        )


def require_data_class(asset: str, *, tags: Mapping[str, str], input_classes: Mapping[str, str]) -> None:
    """Checks, when an asset runs, that it does not read a table that is more protected than itself.

    Args:
        asset: The asset's key, slash-joined.
        tags: Its cost tags.
        input_classes: The data class of each table that it reads, by table name.

    Raises:
        DefinitionError: if an input is more protected than the asset.
    """
    for name, data_class in input_classes.items():
        if DATA_CLASSES.index(data_class) > DATA_CLASSES.index(tags["data_class"]):
            raise DefinitionError(
                object=f"asset {asset}",
                observed=f"its data class is {tags['data_class']!r}, and it reads {name}, which is {data_class!r}",
                expected=f"at least {data_class!r}",
                next_step="raise the asset's data_class, or read a table without the protected columns",
            )


def require_column_classes(contract: Contract, lineage: ColumnLineage, inputs: Mapping[str, ColumnClasses]) -> None:
    """Checks, before a version is written, that no column is less protected than those that it is computed from.

    A column whose sources are not all known counts as computed from every column of the inputs. One that its contract
    declares `declassified` is not checked.

    Args:
        contract: The contract of the table.
        lineage: What its columns are computed from.
        inputs: The classes of the tables that were read, by table name.

    Raises:
        DefinitionError: naming each such column, and the class that it needs.
    """
    needed = {}
    for column in contract.columns:
        found = lineage.columns[column.name]
        known = found.known if isinstance(found, Unknown) else found
        sources = {f"{c.dataset}.{c.column}": inputs[c.dataset].of(c.column) for c in known}
        if isinstance(found, Unknown):
            sources |= {f"any column of {name}, as its sources are not known": c.highest for name, c in inputs.items()}
        needed[column.name] = sources
    require_inherited(contract, needed)


def require_inherited(contract: Contract, sources: Mapping[str, Mapping[str, str]]) -> None:
    """Checks that no column is less protected than what it is computed from, unless it is declared `declassified`.

    Args:
        contract: The contract of the table.
        sources: For each column to check, the names of what it is computed from, each with its data class.

    Raises:
        DefinitionError: naming each column that is less protected, and the class that it needs.
    """
    lower = {}
    for name, classes in sources.items():
        source = max(classes, key=lambda each: rank(classes[each]), default=None)
        if source is None or contract.column(name).declassified is not None:
            continue
        if rank(classes[source]) > rank(contract.data_class(name)):
            lower[name] = f"{name} is {contract.data_class(name)}, and computed from {source}, {classes[source]}"
    if lower:
        raise DefinitionError(
            object=f"table {contract.table}",
            observed="; ".join(lower.values()),
            expected="columns of the data class of what they are computed from, or above",
            next_step=f"add `classification` to {', '.join(lower)} in {contract.path}, or leave {_them(lower)} out; if "
            "the values do not show what they are computed from, such as a count, have the owner of the data agree and "
            "say why: customProperties: [{property: declassified, value: the reason}]",
        )


def _them(names: Iterable[str]) -> str:
    return "them" if len(list(names)) > 1 else "it"
