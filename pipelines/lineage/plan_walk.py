"""The walk over a Spark Connect plan that follows each column from the reads up.

`_RELATIONS` says which function reads which kind of relation; the columns of a kind that is not in it are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
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
from pipelines.lineage.plan_expressions import origin_of, origins_of, outputs, resolve
from pipelines.lineage.plan_sql import parse_identifier


def _location(path: str) -> PurePosixPath:
    return PurePosixPath(path.removeprefix("file://"))


class PlanWalk:
    """One walk over one plan.

    Args:
        client: The `SparkConnectClient` that is asked for schemas.
        inputs: Path or table name of a read to the dataset's key.

    Attributes:
        indirect: `(source, effect)` of the columns that decide about rows.
        reasons: Why `indirect` may lack some.
    """

    def __init__(self, client: Any, inputs: Mapping[str, str]) -> None:
        self.client = client
        self.inputs = {_location(path): dataset for path, dataset in inputs.items()}
        self.indirect: set[tuple[tuple[str, str], Any]] = set()
        self.reasons: set[str] = set()
        self.references: dict[int, Any] = {}
        self.outer: list[Scope] = []
        self.scopes: dict[int, Scope] = {}
        self._names: dict[bytes, list[str]] = {}

    def relation(self, node: Any) -> Scope:
        """The scope above a `Relation`; a subplan that occurs twice is walked once."""
        plan_id = node.common.plan_id if node.common.HasField("plan_id") else None
        if plan_id is None or plan_id not in self.scopes:
            kind = node.WhichOneof("rel_type")
            scope = _RELATIONS.get(kind, _not_read)(self, getattr(node, kind), node)
            if plan_id is None:
                return scope
            self.scopes[plan_id] = scope
        return self.scopes[plan_id]

    def names(self, node: Any) -> list[str]:
        """The column names that the engine gives to a relation."""
        from pyspark.sql.connect import proto

        if node.HasField("read"):
            node = proto.Relation(read=node.read)
        elif self.references:
            relations = proto.WithRelations(root=node, references=list(self.references.values()))
            node = proto.Relation(with_relations=relations)
        question = node.SerializeToString(deterministic=True)
        if question not in self._names:
            self._names[question] = [column.name for column in self.client.schema(proto.Plan(root=node)).fields]
        return self._names[question]

    def affect(self, origins: Iterable[Origin], effect: str) -> None:
        """Notes columns that decide about rows."""
        for origin in origins:
            self.reasons |= origin.reasons
            self.indirect.update((column, effect) for column in origin.sources)


def _not_read(walk: PlanWalk, _: Any, node: Any, kind: str = "") -> Scope:
    reason = f"relation `{kind or node.WhichOneof('rel_type')}` is not read yet"
    walk.reasons.add(reason)
    return Scope(Columns(Column(name, unknown(reason)) for name in walk.names(node)))


def _read(walk: PlanWalk, read: Any, node: Any) -> Scope:
    if read.HasField("named_table"):
        locations = [read.named_table.unparsed_identifier]
        qualifier = tuple(part.casefold() for part in parse_identifier(locations[0]))
    else:
        locations = list(read.data_source.paths) or [read.data_source.options.get("path", read.data_source.format)]
        qualifier = ()
    folders = [(path, *path.parents) for path in map(_location, locations)]
    datasets = [next((walk.inputs[folder] for folder in path if folder in walk.inputs), None) for path in folders]
    strays = [path for path, dataset in zip(locations, datasets, strict=True) if dataset is None]
    unnamed = [unknown(f"no dataset was named for {path}") for path in strays]
    known = {dataset for dataset in datasets if dataset is not None}
    return Scope(
        Columns(
            Column(name, combine([*unnamed, *(Origin({(dataset, name): IDENTITY}) for dataset in known)]), qualifier)
            for name in walk.names(node)
        )
    )


def _rows_of_its_own(walk: PlanWalk, _: Any, node: Any) -> Scope:
    return Scope(Columns(Column(name, Origin()) for name in walk.names(node)))


def _same(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    return walk.relation(relation.input)


def _project(walk: PlanWalk, project: Any, node: Any) -> Scope:
    below = walk.relation(project.input) if project.HasField("input") else Scope(Columns())
    return Scope(outputs(walk, project.expressions, below, node), beneath=Columns((*below.columns, *below.beneath)))


def _aggregate(walk: PlanWalk, aggregate: Any, node: Any) -> Scope:
    if aggregate.HasField("pivot"):
        return _not_read(walk, aggregate, node, kind="pivot")
    below = walk.relation(aggregate.input)
    keys = aggregate.grouping_expressions
    walk.affect(origins_of(walk, keys, below), "group_by")
    columns = outputs(walk, [*keys, *aggregate.aggregate_expressions], below, node)
    if aggregate.group_type != aggregate.GROUP_TYPE_GROUPBY:
        nulled = (Column(c.name, combine([c.origin], TRANSFORMATION)) for c in columns[: len(keys)])
        columns = Columns((*nulled, *columns[len(keys) :]))
    return Scope(columns, beneath=below.columns)


def _filter(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    walk.affect([origin_of(walk, relation.condition, _with_beneath(below))], "filter")
    return below


def _sort(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    walk.affect(origins_of(walk, (order.child for order in relation.order), _with_beneath(below)), "sort")
    return below


def _with_beneath(scope: Scope) -> Scope:
    return replace(scope, hidden=Columns((*scope.hidden, *scope.beneath)))


def _deduplicate(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    walk.affect(_chosen(below, relation.column_names), "group_by")
    return below


def _drop_na(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    walk.affect(_chosen(below, relation.cols), "filter")
    return below


def _chosen(scope: Scope, names: Sequence[str]) -> list[Origin]:
    return [scope.columns.named(name).origin for name in names] if names else scope.columns.origins()


def _substitute(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    # Without names the types decide which columns are filled: all of them may be.
    chosen = {name.casefold() for name in relation.cols}
    return Scope(
        Columns(
            Column(column.name, combine([column.origin], TRANSFORMATION))
            if not chosen or column.folded in chosen
            else column
            for column in below.columns
        )
    )


def _join(walk: PlanWalk, join: Any, _: Any) -> Scope:
    left, right = walk.relation(join.left), walk.relation(join.right)
    both = Scope(Columns((*left.columns, *right.columns)), Columns((*left.hidden, *right.hidden)))
    if join.HasField("join_condition"):
        walk.affect([origin_of(walk, join.join_condition, both)], "join")
    keys, hidden = [], list(both.hidden)
    for name in join.using_columns:
        ours, theirs = left.columns.named(name), right.columns.named(name)
        walk.affect([ours.origin, theirs.origin], "join")
        hidden += [ours, theirs]
        either = Column(ours.name, combine([ours.origin, theirs.origin], TRANSFORMATION))
        keys.append({join.JOIN_TYPE_FULL_OUTER: either, join.JOIN_TYPE_RIGHT_OUTER: theirs}.get(join.join_type, ours))
    one_sided = join.join_type in (join.JOIN_TYPE_LEFT_SEMI, join.JOIN_TYPE_LEFT_ANTI)
    used = {column.key for column in hidden[len(both.hidden) :]}
    rest = [column for column in (left if one_sided else both).columns if column.key not in used]
    return Scope(Columns((*keys, *rest)), left.hidden if one_sided else Columns(hidden))


def _set_operation(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    left, right = walk.relation(relation.left_input).columns, walk.relation(relation.right_input).columns
    union = relation.set_op_type == relation.SET_OP_TYPE_UNION
    added: list[Column] = []
    pairs: list[Origin] = right.origins()
    if relation.by_name:
        missing = Column("", Origin())
        theirs = {column.folded: column for column in right}
        ours = {column.folded for column in left}
        pairs = [theirs.get(column.folded, missing).origin for column in left]
        added = [Column(column.name, column.origin) for column in right if column.folded not in ours]
    if not union or not relation.is_all:
        walk.affect([*left.origins(), *right.origins()], "group_by" if union else "filter")
    merged = [
        replace(column, origin=combine([column.origin, pair])) if union else column
        for column, pair in zip(left, pairs, strict=True)
    ]
    return Scope(Columns((*merged, *added)))


def _with_columns(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    columns = [Column(alias.name[0], origin_of(walk, alias.expr, below)) for alias in relation.aliases]
    new = {column.folded: column for column in columns}
    kept = [new.get(column.folded, column) for column in below.columns]
    there = {column.folded for column in below.columns}
    return Scope(Columns((*kept, *(column for name, column in new.items() if name not in there))), below.hidden)


def _renamed(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    columns = list(walk.relation(relation.input).columns)
    renames = [(rename.col_name, rename.new_col_name) for rename in relation.renames]
    for old, new in renames or relation.rename_columns_map.items():
        columns = [Column(new, c.origin, c.qualifier) if c.folded == old.casefold() else c for c in columns]
    return Scope(Columns(columns))


def _drop(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input)
    names = {name.casefold() for name in relation.column_names}
    attributes = [e.unresolved_attribute for e in relation.columns if e.HasField("unresolved_attribute")]
    keys = {resolve(walk, attribute, below)[0].key for attribute in attributes}
    kept = Columns(c for c in below.columns if c.folded not in names and c.key not in keys)
    return Scope(kept, below.hidden, Columns((*below.columns, *below.beneath)))


def _to_df(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input).columns
    return Scope(Columns(Column(name, c.origin) for name, c in zip(relation.column_names, below, strict=True)))


def _to_schema(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    below = walk.relation(relation.input).columns
    fields = [part.name for part in relation.schema.struct.fields]
    found = {name: below.match((name,))[0] for name in fields}
    return Scope(
        Columns(
            Column(name, combine([one(found[name], name).origin], TRANSFORMATION) if found[name] else Origin())
            for name in fields
        )
    )


def _aliased(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    qualifier = (relation.alias.casefold(),)
    return Scope(Columns(replace(c, qualifier=qualifier) for c in walk.relation(relation.input).columns))


def _opaque(walk: PlanWalk, relation: Any, node: Any) -> Scope:
    inputs = [
        value for part, value in relation.ListFields() if part.message_type and part.message_type.name == "Relation"
    ]
    seen = [origin for each in inputs for origin in walk.relation(each).columns.origins()]
    # Python code is not looked into: it may make any value of any that it gets, and drop any row.
    walk.affect(seen, "filter")
    origin = combine(seen, TRANSFORMATION)
    return Scope(Columns(Column(name, origin) for name in walk.names(node)))


def _with_relations(walk: PlanWalk, relation: Any, _: Any) -> Scope:
    walk.references |= {reference.common.plan_id: reference for reference in relation.references}
    return walk.relation(relation.root)


_RELATIONS: Mapping[str, Callable[[PlanWalk, Any, Any], Scope]] = {
    "read": _read,
    "local_relation": _rows_of_its_own,
    "cached_local_relation": _rows_of_its_own,
    "chunked_cached_local_relation": _rows_of_its_own,
    "range": _rows_of_its_own,
    "project": _project,
    "aggregate": _aggregate,
    "filter": _filter,
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
    "map_partitions": _opaque,
    "group_map": _opaque,
    "co_group_map": _opaque,
    "with_relations": _with_relations,
} | dict.fromkeys(
    "limit offset tail sample repartition repartition_by_expression hint collect_metrics with_watermark".split(), _same
)
