"""Column lineage, read from a Spark Connect plan before it runs: which source columns reach which output column.

A DataFrame over Spark Connect is a tree of protobuf messages, the same for both engines. `plan_walk` follows each
column from the reads up. This module names the output columns and converts the result for OpenLineage and Dagster. A
column that the walk cannot follow becomes `Unknown`, with the reason: it is neither guessed nor left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pipelines.lineage.facets import facet, set_values
from pipelines.lineage.plan_columns import Origin, combine, unknown

if TYPE_CHECKING:
    import dagster as dg
    from pyspark.sql import DataFrame

#: OpenLineage's subtypes of a DIRECT transformation, weakest first. Of several steps in a row, the strongest counts.
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
    """A column of an input that decides which rows there are, how they are combined or in which order."""

    dataset: str
    column: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not all sources of a column are known: the reason, and the sources that are known."""

    reason: str
    known: tuple[SourceColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnLineage:
    """What each output column is computed from.

    Attributes:
        columns: Output column to its sources. An empty tuple says that it has none: a literal, a count of rows.
        indirect: Columns that filter, group, join, sort or window the rows. A function of whole rows or groups
            (`mapInPandas`, `applyInPandas`) may drop any of them, so all columns that it gets are included.
        indirect_unknown: Why columns may be missing from `indirect`; empty if it is complete.
    """

    columns: Mapping[str, tuple[SourceColumn, ...] | Unknown]
    indirect: frozenset[IndirectColumn]
    indirect_unknown: tuple[str, ...]


def column_lineage(df: DataFrame, inputs: Mapping[str, str], names: Sequence[str] | None = None) -> ColumnLineage:
    """Returns the column lineage of a DataFrame, read from its plan. Nothing is executed.

    The engine is asked for schemas (`AnalyzePlan`): of each input, and of a select list with expressions that have no
    alias.

    Args:
        df: A DataFrame over Spark Connect, of either engine.
        inputs: The path (or a folder above it) or the table name that a read points to, to `zone/domain/table`.
        names: The frame's columns, if known; else the engine is asked.

    Raises:
        pyspark.errors.AnalysisException: If the engine refuses the plan.
    """
    # These import sqlglot, 0.1 s, which a command that names columns alone does not need.
    from pipelines.lineage.declared_plan import declared_plans
    from pipelines.lineage.plan_expressions import EXPRESSIONS
    from pipelines.lineage.plan_relations import RELATIONS
    from pipelines.lineage.plan_walk import PlanWalk

    names = df.columns if names is None else names
    connected: Any = df  # DataFrame, the type of both Spark APIs, lacks the plan and the client of Spark Connect
    client = connected.sparkSession.client
    walk = PlanWalk(client, inputs, relations=RELATIONS, expressions=EXPRESSIONS)
    with declared_plans():
        plan = connected._plan.plan(client)
    columns = walk.relation(plan).columns
    if [column.folded for column in columns] == [name.casefold() for name in names]:
        origins = columns.origins()
    else:
        read = ", ".join(column.name for column in columns)
        origins = [unknown(f"the engine names ({', '.join(names)}) what was read as ({read})")] * len(names)
    by_name: dict[str, list[Origin]] = {}
    for name, origin in zip(names, origins, strict=True):
        by_name.setdefault(name, []).append(origin)
    for name, same_named in by_name.items():
        if len(same_named) > 1:
            same_named.append(unknown(f"{len(same_named)} columns are named `{name}`"))
    return ColumnLineage(
        columns={name: _public(combine(same_named)) for name, same_named in by_name.items()},
        indirect=frozenset(IndirectColumn(*column, effect) for column, effect in walk.indirect),
        indirect_unknown=tuple(sorted(walk.reasons)),
    )


def _public(origin: Origin) -> tuple[SourceColumn, ...] | Unknown:
    steps = get_args(Transformation)
    known = tuple(SourceColumn(*column, steps[step]) for column, step in sorted(origin.sources.items()))
    return Unknown("; ".join(sorted(origin.reasons)), known) if origin.reasons else known


def to_openlineage(lineage: ColumnLineage, namespace: str) -> dict[str, Any]:
    """Returns the facet of the output dataset, as JSON.

    The facet has no field for the unknown: such a column lists its known sources, and its description gives the reason.
    """

    def inputs(steps: Iterable[tuple[str, str, str, str]]) -> list[dict[str, Any]]:
        by_column: dict[tuple[str, str], list[dict[str, str]]] = {}
        for dataset, column, kind, subtype in sorted(steps):
            by_column.setdefault((dataset, column), []).append({"type": kind, "subtype": subtype.upper()})
        return [
            {"namespace": namespace, "name": dataset, "field": column, "transformations": subtypes}
            for (dataset, column), subtypes in by_column.items()
        ]

    def field(sources: tuple[SourceColumn, ...] | Unknown) -> dict[str, Any]:
        known = sources.known if isinstance(sources, Unknown) else sources
        fields = inputs((c.dataset, c.column, "DIRECT", c.transformation) for c in known)
        reason = f"unknown: {sources.reason}" if isinstance(sources, Unknown) else None
        return set_values({"inputFields": fields, "transformationDescription": reason})

    return facet(
        "ColumnLineageDatasetFacet",
        fields={name: field(sources) for name, sources in lineage.columns.items()},
        dataset=inputs((c.dataset, c.column, "INDIRECT", c.effect) for c in lineage.indirect),
    )


def unknown_columns(lineage: ColumnLineage) -> dict[str, str]:
    """The columns of which not all sources are known, each with the reason."""
    return {name: sources.reason for name, sources in lineage.columns.items() if isinstance(sources, Unknown)}


def to_dagster(lineage: ColumnLineage) -> dg.TableColumnLineage:
    """Returns the lineage for Dagster, which has no field for the unknown: such a column lists its known sources."""
    import dagster as dg

    def deps(sources: tuple[SourceColumn, ...] | Unknown) -> list[dg.TableColumnDep]:
        known = sources.known if isinstance(sources, Unknown) else sources
        return [dg.TableColumnDep(dg.AssetKey(c.dataset.split("/")), c.column) for c in known]

    return dg.TableColumnLineage({name: deps(sources) for name, sources in lineage.columns.items()})
