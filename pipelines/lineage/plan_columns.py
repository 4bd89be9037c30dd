"""Columns of a plan and where their values come from: what `pipelines.lineage.plan_walk` carries from the reads up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

#: Strength of the steps between a source column and a value; of several on the way the strongest counts.
IDENTITY, TRANSFORMATION, AGGREGATION = range(3)


@dataclass(frozen=True, slots=True)
class Origin:
    """The source columns `(dataset, column)` of a value, each with the strongest step, and why there may be more."""

    sources: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reasons: frozenset[str] = frozenset()


def unknown(reason: str) -> Origin:
    return Origin(reasons=frozenset([reason]))


def combine(origins: Iterable[Origin], at_least: int = IDENTITY) -> Origin:
    """The origin of a value computed from values of these origins, in a step at least that strong."""
    sources: dict[tuple[str, str], int] = {}
    reasons: frozenset[str] = frozenset()
    for origin in origins:
        reasons |= origin.reasons
        for column, step in origin.sources.items():
            sources[column] = max(sources.get(column, at_least), step)
    return Origin(sources, reasons)


@dataclass(frozen=True, eq=False, slots=True)
class Column:
    """A column of a relation, its name `""` where only the engine knows it.

    It keeps its `key` where it passes a relation unchanged. `many` stands for as many columns as the engine makes.
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
    """Columns in order, found by name as the analyzer does: whatever the case, qualified names first."""

    @cached_property
    def _by_name(self) -> dict[str, list[Column]]:
        by_name: dict[str, list[Column]] = {}
        for column in self:
            by_name.setdefault(column.folded, []).append(column)
        return by_name

    def match(self, parts: Sequence[str]) -> tuple[list[Column], bool]:
        """The columns that a name may mean, and whether it goes on into a struct."""
        folded = tuple(part.casefold() for part in parts)
        for at in reversed(range(len(folded))):
            named = self._by_name.get(folded[at], [])
            if found := [column for column in named if not at or column.qualifier[-at:] == folded[:at]]:
                return found, at + 1 < len(folded)
        return [], False

    def named(self, name: str) -> Column:
        return one(self.match((name,))[0], name)

    def origins(self) -> list[Origin]:
        return [column.origin for column in self]


def one(found: Sequence[Column], name: str) -> Column:
    if not found:
        return Column(name, unknown(f"column `{name}` was not found"))
    if any(column.origin != found[0].origin for column in found):
        return Column(name, unknown(f"`{name}` may be any of {len(found)} columns"))
    return found[0]


@dataclass(frozen=True, slots=True)
class Scope:
    """What names can mean above a relation.

    Attributes:
        columns: Its output.
        hidden: What only a qualified name reaches: the keys that a join with USING left out.
        beneath: The input's columns, which a filter or sort right above a projection still reaches.
        earlier: Inside a select list, what stands before the expression.
    """

    columns: Columns
    hidden: Columns = field(default_factory=Columns)
    beneath: Columns = field(default_factory=Columns)
    earlier: list[Column] = field(default_factory=list)

    def levels(self) -> Iterator[Columns]:
        """Where a name is looked for, in this order."""
        yield self.columns
        yield self.hidden
        yield Columns(self.earlier)
