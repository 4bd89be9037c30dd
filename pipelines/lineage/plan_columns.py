"""Columns of a plan and the origin of their values, as the walk over the plan passes them from the reads up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

#: Strength of a step between a source column and a value. Of several steps in a row, the strongest counts.
IDENTITY, TRANSFORMATION, AGGREGATION = range(3)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        sources: Source column `(dataset, column)` to the strongest step on the way from it.
        reasons: Why there may be more sources; empty if all are known.
    """

    sources: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reasons: frozenset[str] = frozenset()


def unknown(reason: str) -> Origin:
    """Returns the origin of a value of which no source is known."""
    return Origin(reasons=frozenset([reason]))


def combine(origins: Iterable[Origin], at_least: int = IDENTITY) -> Origin:
    """Returns the origin of a value that is computed from values of these origins, by a step `at_least` that strong."""
    sources: dict[tuple[str, str], int] = {}
    reasons: frozenset[str] = frozenset()
    for origin in origins:
        reasons |= origin.reasons
        for column, step in origin.sources.items():
            sources[column] = max(sources.get(column, at_least), step)
    return Origin(sources, reasons)


@dataclass(frozen=True, eq=False, slots=True)
class Column:
    """A column of a relation.

    Attributes:
        name: Its name; empty if only the engine knows it.
        qualifier: The parts of the alias or table name before it, in folded case.
        key: Its identity, which it keeps while relations pass it on unchanged.
        many: It stands for as many columns as the engine makes of the expression.
    """

    name: str
    origin: Origin
    qualifier: tuple[str, ...] = ()
    key: object = field(default_factory=object)
    many: bool = False

    @property
    def folded(self) -> str:
        return self.name.casefold()


class Columns(tuple[Column, ...]):
    """Columns in order. A name matches as it does in the analyzer: in any case, with its qualifier first."""

    @cached_property
    def _by_name(self) -> dict[str, list[Column]]:
        by_name: dict[str, list[Column]] = {}
        for column in self:
            by_name.setdefault(column.folded, []).append(column)
        return by_name

    def match(self, parts: Sequence[str]) -> tuple[list[Column], bool]:
        """Returns the columns that a name may mean, and whether the name goes on into a field of a struct."""
        folded = tuple(part.casefold() for part in parts)
        for at in reversed(range(len(folded))):
            named = self._by_name.get(folded[at], [])
            if matches := [column for column in named if not at or column.qualifier[-at:] == folded[:at]]:
                return matches, at + 1 < len(folded)
        return [], False

    def named(self, name: str) -> Column:
        return one(self.match((name,))[0], name)

    def origins(self) -> list[Origin]:
        return [column.origin for column in self]


def one(matches: Sequence[Column], name: str) -> Column:
    """Returns the column that a name means; its origin is unknown if there is none, or several that differ."""
    if not matches:
        return Column(name, unknown(f"column `{name}` was not found"))
    if any(column.origin != matches[0].origin for column in matches):
        return Column(name, unknown(f"`{name}` may be any of {len(matches)} columns"))
    return matches[0]


@dataclass(frozen=True, slots=True)
class Scope:
    """The columns that names can mean above a relation.

    Attributes:
        columns: The output of the relation.
        hidden: Columns that only a qualified name reaches: keys that a join with USING left out.
        beneath: The columns of the input, which a filter or sort directly above a projection still reaches.
        earlier: Inside a select list, the columns before the expression.
    """

    columns: Columns
    hidden: Columns = field(default_factory=Columns)
    beneath: Columns = field(default_factory=Columns)
    earlier: list[Column] = field(default_factory=list)

    def levels(self) -> Iterator[Columns]:
        """Yields the columns in which a name is looked up, in this order."""
        yield self.columns
        yield self.hidden
        yield Columns(self.earlier)
