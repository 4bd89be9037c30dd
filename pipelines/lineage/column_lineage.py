"""Column lineage, read off a Spark Connect plan before it runs: which source columns reach which output column.

A DataFrame over Spark Connect is a tree of protobuf messages, the same for both engines. `plan_walk` follows each
column from the reads up; here it gets its names, and the shapes of OpenLineage and Dagster. What the walk cannot
follow comes out as `Unknown`, with the reason: never guessed, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pipelines.lineage.plan_columns import Origin, combine, unknown
from pipelines.lineage.plan_walk import PlanWalk

if TYPE_CHECKING:
    import dagster as dg
    from openlineage.client.generated.column_lineage_dataset import ColumnLineageDatasetFacet
    from pyspark.sql import DataFrame

#: OpenLineage's subtypes of a DIRECT transformation, weakest first; of several on the way the strongest counts.
Transformation = Literal["identity", "transformation", "aggregation"]
#: OpenLineage's subtypes of an INDIRECT transformation that concern the whole dataset.
Effect = Literal["filter", "group_by", "join", "sort", "window"]


@dataclass(frozen=True, slots=True, order=True)
class SourceColumn:
    """A column of an input that an output column is computed from; `dataset` is `zone/domain/table`."""

    dataset: str
    column: str
    transformation: Transformation


@dataclass(frozen=True, slots=True, order=True)
class IndirectColumn:
    """A column of an input that decides which rows there are, how they meet or in which order."""

    dataset: str
    column: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not all sources of a column could be told: why, and those that could."""

    reason: str
    known: tuple[SourceColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnLineage:
    """What each output column is computed from.

    Attributes:
        columns: Output column to its sources; an empty tuple says that it has none (a literal, a count of rows).
        indirect: Columns that filter, group, join, sort or window the rows. A function that gets whole rows or groups
            (`mapInPandas`, `applyInPandas`) may drop any of them: all columns that it gets are among these.
        indirect_unknown: Why `indirect` may lack some; empty where it is complete.
    """

    columns: Mapping[str, tuple[SourceColumn, ...] | Unknown]
    indirect: frozenset[IndirectColumn]
    indirect_unknown: tuple[str, ...]


def column_lineage(df: DataFrame, inputs: Mapping[str, str]) -> ColumnLineage:
    """Reads the column lineage of a DataFrame off its plan. Nothing is executed.

    The engine is asked for schemas (`AnalyzePlan`): of each input, and where an expression has no alias.

    Args:
        df: A DataFrame over Spark Connect, of either engine.
        inputs: What a read points to, a path (or a folder above it) or the name of a table, to `zone/domain/table`.

    Raises:
        pyspark.errors.AnalysisException: if the engine refuses the plan.
    """
    names = df.columns
    connected: Any = df  # the plan and the client of a DataFrame over Spark Connect are not in the common type
    client = connected.sparkSession.client
    walk = PlanWalk(client, inputs)
    found = walk.relation(connected._plan.plan(client)).columns
    if [column.folded for column in found] == [name.casefold() for name in names]:
        origins = [column.origin for column in found]
    else:
        seen = ", ".join(column.name for column in found)
        origins = [unknown(f"the engine names ({', '.join(names)}) what was read as ({seen})")] * len(names)
    by_name: dict[str, list[Origin]] = {}
    for name, origin in zip(names, origins, strict=True):
        by_name.setdefault(name, []).append(origin)
    for name, several in by_name.items():
        if len(several) > 1:
            several.append(unknown(f"{len(several)} columns are named `{name}`"))
    return ColumnLineage(
        columns={name: _public(combine(several)) for name, several in by_name.items()},
        indirect=frozenset(IndirectColumn(*column, effect) for column, effect in walk.indirect),
        indirect_unknown=tuple(sorted(walk.reasons)),
    )


def _public(origin: Origin) -> tuple[SourceColumn, ...] | Unknown:
    steps = get_args(Transformation)
    known = tuple(SourceColumn(*column, steps[step]) for column, step in sorted(origin.sources.items()))
    return Unknown("; ".join(sorted(origin.reasons)), known) if origin.reasons else known


def to_openlineage(lineage: ColumnLineage, namespace: str) -> ColumnLineageDatasetFacet:
    """The facet of the output dataset; an unknown column keeps its known sources and says why in its description."""
    from openlineage.client.generated import column_lineage_dataset as facet

    def inputs(steps: Iterable[tuple[str, str, str, str]]) -> list[facet.InputField]:
        by_column: dict[tuple[str, str], list[facet.Transformation]] = {}
        for dataset, column, kind, subtype in sorted(steps):
            by_column.setdefault((dataset, column), []).append(facet.Transformation(kind, subtype.upper()))
        return [facet.InputField(namespace, *column, found) for column, found in by_column.items()]

    def field(sources: tuple[SourceColumn, ...] | Unknown) -> facet.Fields:
        known = sources.known if isinstance(sources, Unknown) else sources
        description = f"unknown: {sources.reason}" if isinstance(sources, Unknown) else None
        return facet.Fields(inputs((c.dataset, c.column, "DIRECT", c.transformation) for c in known), description)

    return facet.ColumnLineageDatasetFacet(
        fields={name: field(sources) for name, sources in lineage.columns.items()},
        dataset=inputs((c.dataset, c.column, "INDIRECT", c.effect) for c in lineage.indirect),
    )


def to_dagster(lineage: ColumnLineage) -> dg.TableColumnLineage:
    """The lineage as Dagster shows it. Dagster has no place for the unknown: such a column lists its known sources."""
    import dagster as dg

    def deps(sources: tuple[SourceColumn, ...] | Unknown) -> list[dg.TableColumnDep]:
        known = sources.known if isinstance(sources, Unknown) else sources
        return [dg.TableColumnDep(dg.AssetKey(c.dataset.split("/")), c.column) for c in known]

    return dg.TableColumnLineage({name: deps(sources) for name, sources in lineage.columns.items()})
