"""What each kind of Spark Connect relation does to its columns, and which columns decide about its rows.

A function takes the walk, the message of the relation's kind and the `Relation` that holds it, and returns the scope
above it. `RELATIONS` says which function reads which kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.lineage.plan_columns import (
    IDENTITY,
    TRANSFORMATION,
    Column,
    Columns,
    Origin,
    Scope,
    combine,
    one,
    unknown,
)
from pipelines.lineage.plan_expressions import outputs, resolve
from pipelines.lineage.plan_sql import parse_identifier
from pipelines.lineage.plan_walk import PlanWalk, RelationReader


def _read(walk: PlanWalk, read: Any, node: Any) -> Scope:
    if read.HasField("named_table"):
        locations = [read.named_table.unparsed_identifier]
        qualifier = tuple(part.casefold() for part in parse_identifier(locations[0]))
    else:
        locations = list(read.data_source.paths) or [read.data_source.options.get("path", read.data_source.format)]
        qualifier = ()
    datasets = {location: walk.dataset(location) for location in locations}
    unnamed = [unknown(f"no dataset was named for {path}") for path, dataset in datasets.items() if dataset is None]
    named = {dataset for dataset in datasets.values() if dataset is not None}
    return Scope(
        Columns(
            Column(name, combine([*unnamed, *(Origin({(dataset, name): IDENTITY}) for dataset in named)]), qualifier)
            for name in walk.names(node)
        )
    )


def _rows_in_plan(walk: PlanWalk, _: Any, node: Any) -> Scope:
    """Rows that the plan itself holds or makes: their columns have no source."""
    return Scope(Columns(Column(name, Origin()) for name in walk.names(node)))


def _unchanged(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    return walk.relation(relation.input)


def _project(walk: PlanWalk, project: Any, node: Any) -> Scope:
    below = walk.relation(project.input) if project.HasField("input") else Scope(Columns())
    return Scope(outputs(walk, project.expressions, below, node), beneath=Columns((*below.columns, *below.beneath)))


def _aggregate(walk: PlanWalk, aggregate: Any, node: Any) -> Scope:
    below = walk.relation(aggregate.input)
    keys = aggregate.grouping_expressions
    if aggregate.HasField("pivot"):
        return _pivot(walk, aggregate, node, below)
    walk.affect(walk.origins(keys, below), "group_by")
    columns = outputs(walk, [*keys, *aggregate.aggregate_expressions], below, node)
    if aggregate.group_type != aggregate.GROUP_TYPE_GROUPBY:  # rollup, cube and grouping sets make nulls of keys
        nulled = (Column(column.name, combine([column.origin], TRANSFORMATION)) for column in columns[: len(keys)])
        columns = Columns((*nulled, *columns[len(keys) :]))
    return Scope(columns, beneath=below.columns)


def _pivot(walk: PlanWalk, aggregate: Any, node: Any, below: Scope) -> Scope:
    """A pivot: the keys, then for each value of the pivot column each aggregate of the rows that have this value."""
    names, keys = walk.names(node), walk.origins(aggregate.grouping_expressions, below)
    by = walk.origin(aggregate.pivot.col, below)
    walk.affect([*keys, by], "group_by")
    figures = walk.origins(aggregate.aggregate_expressions, below)
    if aggregate.pivot.values and len(names) != len(keys) + len(figures) * len(aggregate.pivot.values):
        return walk.unread_relation(node, "pivot")
    chosen = [combine([figure, combine([by], TRANSFORMATION)]) for figure in figures]
    pivoted = [chosen[place % len(chosen)] for place in range(len(names) - len(keys))]
    return Scope(Columns(Column(*pair) for pair in zip(names, [*keys, *pivoted], strict=True)))


def _unpivot(walk: PlanWalk, unpivot: Any, node: Any) -> Scope:
    """An unpivot: the ids, the name of a column as text, and the values of the columns under each other."""
    below = walk.relation(unpivot.input)
    ids = walk.origins(unpivot.ids, below)
    names = walk.names(node)
    if not unpivot.HasField("values") or len(names) != len(ids) + 2:
        return walk.unread_relation(node, "unpivot")
    values = combine(walk.origins(unpivot.values.values, below))
    return Scope(Columns(Column(*pair) for pair in zip(names, [*ids, Origin(), values], strict=True)))


def _filter(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    walk.affect([walk.origin(relation.condition, _with_beneath(below))], "filter")
    return below


def _sort(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    walk.affect(walk.origins((order.child for order in relation.order), _with_beneath(below)), "sort")
    return below


def _with_beneath(scope: Scope) -> Scope:
    return replace(scope, hidden=Columns((*scope.hidden, *scope.beneath)))


def _deduplicate(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    walk.affect(_named_or_all(below, relation.column_names), "group_by")
    return below


def _drop_na(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    walk.affect(_named_or_all(below, relation.cols), "filter")
    return below


def _named_or_all(scope: Scope, names: Sequence[str]) -> list[Origin]:
    return [scope.columns.named(name).origin for name in names] if names else scope.columns.origins()


def _substitute(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    # Without names, the engine chooses columns by their type: any may change.
    names = {name.casefold() for name in relation.cols}
    return Scope(
        Columns(
            Column(column.name, combine([column.origin], TRANSFORMATION))
            if not names or column.folded in names
            else column
            for column in below.columns
        )
    )


def _join(walk: PlanWalk, join: Any, _: Any) -> Scope:
    left, right = walk.relation(join.left), walk.relation(join.right)
    both = Scope(Columns((*left.columns, *right.columns)), Columns((*left.hidden, *right.hidden)))
    if join.HasField("join_condition"):
        walk.affect([walk.origin(join.join_condition, both)], "join")
    keys: list[Column] = []
    hidden: list[Column] = []
    for name in join.using_columns:
        left_key, right_key = left.columns.named(name), right.columns.named(name)
        walk.affect([left_key.origin, right_key.origin], "join")
        hidden += [left_key, right_key]
        either = Column(left_key.name, combine([left_key.origin, right_key.origin], TRANSFORMATION))
        key_of = {join.JOIN_TYPE_FULL_OUTER: either, join.JOIN_TYPE_RIGHT_OUTER: right_key}
        keys.append(key_of.get(join.join_type, left_key))
    one_sided = join.join_type in (join.JOIN_TYPE_LEFT_SEMI, join.JOIN_TYPE_LEFT_ANTI)
    key_columns = {column.key for column in hidden}
    rest = [column for column in (left if one_sided else both).columns if column.key not in key_columns]
    return Scope(Columns((*keys, *rest)), left.hidden if one_sided else Columns((*both.hidden, *hidden)))


def _set_operation(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    left, right = walk.relation(relation.left_input).columns, walk.relation(relation.right_input).columns
    is_union = relation.set_op_type == relation.SET_OP_TYPE_UNION
    added: list[Column] = []
    right_origins: list[Origin] = right.origins()  # one for each column of the left
    if relation.by_name:
        right_by_name = {column.folded: column.origin for column in right}
        left_names = {column.folded for column in left}
        right_origins = [right_by_name.get(column.folded, Origin()) for column in left]
        added = [Column(column.name, column.origin) for column in right if column.folded not in left_names]
    if not is_union or not relation.is_all:
        walk.affect([*left.origins(), *right.origins()], "group_by" if is_union else "filter")
    merged = [
        replace(column, origin=combine([column.origin, right_origin])) if is_union else column
        for column, right_origin in zip(left, right_origins, strict=True)
    ]
    return Scope(Columns((*merged, *added)))


def _with_columns(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    columns = [Column(alias.name[0], walk.origin(alias.expr, below)) for alias in relation.aliases]
    new = {column.folded: column for column in columns}
    kept = [new.get(column.folded, column) for column in below.columns]
    names_below = {column.folded for column in below.columns}
    added = (column for name, column in new.items() if name not in names_below)
    return Scope(Columns((*kept, *added)), below.hidden)


def _renamed(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    columns = list(walk.relation(relation.input).columns)
    renames = [(rename.col_name, rename.new_col_name) for rename in relation.renames]
    for old, new in renames or relation.rename_columns_map.items():
        columns = [
            Column(new, column.origin, column.qualifier) if column.folded == old.casefold() else column
            for column in columns
        ]
    return Scope(Columns(columns))


def _drop(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    names = {name.casefold() for name in relation.column_names}
    attributes = [e.unresolved_attribute for e in relation.columns if e.HasField("unresolved_attribute")]
    keys = {resolve(walk, attribute, below)[0].key for attribute in attributes}
    kept = Columns(column for column in below.columns if column.folded not in names and column.key not in keys)
    return Scope(kept, below.hidden, Columns((*below.columns, *below.beneath)))


def _to_df(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input).columns
    return Scope(
        Columns(Column(name, column.origin) for name, column in zip(relation.column_names, below, strict=True))
    )


def _to_schema(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input).columns
    matches = [(field.name, below.match((field.name,))[0]) for field in relation.schema.struct.fields]
    return Scope(
        Columns(
            Column(name, combine([one(columns, name).origin], TRANSFORMATION) if columns else Origin())
            for name, columns in matches
        )
    )


def _aliased(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    qualifier = (relation.alias.casefold(),)
    return Scope(Columns(replace(column, qualifier=qualifier) for column in walk.relation(relation.input).columns))


def _python(walk: PlanWalk, relation: Any, node: Any) -> Scope:
    """A Python function of whole rows or groups: it may compute any value from all that it gets, and drop any row."""
    inputs = [
        value for part, value in relation.ListFields() if part.message_type and part.message_type.name == "Relation"
    ]
    origins = [origin for relation_in in inputs for origin in walk.relation(relation_in).columns.origins()]
    walk.affect(origins, "filter")
    origin = combine(origins, TRANSFORMATION)
    return Scope(Columns(Column(name, origin) for name in walk.names(node)))


def _with_relations(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    walk.references |= {reference.common.plan_id: reference for reference in relation.references}
    return walk.relation(relation.root)


#: Kinds of `Relation` that `PlanWalk` can read. The walk makes the columns of any other kind unknown.
RELATIONS: Mapping[str, RelationReader] = {
    "read": _read,
    "project": _project,
    "aggregate": _aggregate,
    "filter": _filter,
    "unpivot": _unpivot,
    "sort": _sort,
    "deduplicate": _deduplicate,
    "drop_na": _drop_na,
    "fill_na": _substitute,
    "replace": _substitute,
    "join": _join,
    "set_op": _set_operation,
    "with_columns": _with_columns,
    "with_columns_renamed": _renamed,
    "drop": _drop,
    "to_df": _to_df,
    "to_schema": _to_schema,
    "subquery_alias": _aliased,
    "with_relations": _with_relations,
    **dict.fromkeys("local_relation cached_local_relation chunked_cached_local_relation range".split(), _rows_in_plan),
    **dict.fromkeys("map_partitions group_map co_group_map".split(), _python),
    **dict.fromkeys("limit offset tail sample repartition repartition_by_expression".split(), _unchanged),
    **dict.fromkeys("hint collect_metrics with_watermark".split(), _unchanged),
}
