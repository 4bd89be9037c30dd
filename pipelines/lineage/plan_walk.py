"""One walk over a Spark Connect plan: its state, and how it descends into relations and expressions.

The functions that read each kind of relation and expression are handed in: they call the walk, which knows none of
them. The columns of a relation, or the value of an expression, of any other kind are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from pipelines.lineage.plan_columns import Column, Columns, Origin, Scope, unknown

#: Takes the walk, the message of the relation's kind and the `Relation` that holds it; returns the scope above it.
RelationReader: TypeAlias = "Callable[[PlanWalk, Any, Any], Scope]"
#: Takes the walk, the message of the expression's kind and the scope that its names are resolved in.
ExpressionReader: TypeAlias = "Callable[[PlanWalk, Any, Scope], Origin]"


class PlanWalk:
    """One walk over one plan.

    Args:
        client: The `SparkConnectClient` that is asked for schemas.
        inputs: Path or table name of a read to the dataset's key.
        relations: Kind of `Relation` to the function that reads it.
        expressions: Kind of `Expression` to the function that reads it.

    Attributes:
        indirect: `(source, effect)` of the columns that decide about rows.
        reasons: Why `indirect` may lack some.
        scopes: Plan id to the scope above that relation.
        references: Plan id to the relation that a subquery expression refers to.
        outer: The scopes of the queries around the current subquery, outermost first.
    """

    def __init__(
        self,
        client: Any,
        inputs: Mapping[str, str],
        *,
        relations: Mapping[str, RelationReader],
        expressions: Mapping[str, ExpressionReader],
    ) -> None:
        self.indirect: set[tuple[tuple[str, str], Any]] = set()
        self.reasons: set[str] = set()
        self.scopes: dict[int, Scope] = {}
        self.references: dict[int, Any] = {}
        self.outer: list[Scope] = []
        self._client = client
        self._datasets = {_location(path): dataset for path, dataset in inputs.items()}
        self._relations = relations
        self._expressions = expressions
        self._names: dict[bytes, list[str]] = {}

    def relation(self, node: Any) -> Scope:
        """Returns the scope above a `Relation`; a subplan that occurs twice is walked once."""
        plan_id = node.common.plan_id if node.common.HasField("plan_id") else None
        if plan_id is not None and plan_id in self.scopes:
            return self.scopes[plan_id]
        kind = node.WhichOneof("rel_type")
        read = self._relations.get(kind)
        scope = read(self, getattr(node, kind), node) if read else self.unread_relation(node, kind)
        if plan_id is not None:
            self.scopes[plan_id] = scope
        return scope

    def unread_relation(self, node: Any, kind: str) -> Scope:
        """Returns the scope above a `Relation` of a kind that no function reads: its columns are unknown."""
        reason = f"relation `{kind}` is not read yet"
        self.reasons.add(reason)
        return Scope(Columns(Column(name, unknown(reason)) for name in self.names(node)))

    def origin(self, expression: Any, scope: Scope) -> Origin:
        """Returns where the value of an `Expression` comes from."""
        kind = expression.WhichOneof("expr_type")
        read = self._expressions.get(kind)
        return read(self, getattr(expression, kind), scope) if read else unknown(f"expression `{kind}` is not read yet")

    def origins(self, expressions: Iterable[Any], scope: Scope) -> list[Origin]:
        return [self.origin(expression, scope) for expression in expressions]

    def names(self, node: Any) -> list[str]:
        """Returns the column names that the engine gives to a `Relation`."""
        from pyspark.sql.connect import proto

        if node.HasField("read"):
            node = proto.Relation(read=node.read)
        elif self.references:
            relations = proto.WithRelations(root=node, references=list(self.references.values()))
            node = proto.Relation(with_relations=relations)
        message = node.SerializeToString(deterministic=True)
        if message not in self._names:
            self._names[message] = [column.name for column in self._client.schema(proto.Plan(root=node)).fields]
        return self._names[message]

    def dataset(self, location: str) -> str | None:
        """Returns the dataset that a table name or a path belongs to; a path may lie inside the dataset's folder."""
        path = _location(location)
        return next((self._datasets[folder] for folder in (path, *path.parents) if folder in self._datasets), None)

    def affect(self, origins: Iterable[Origin], effect: str) -> None:
        """Records columns that decide about rows."""
        for origin in origins:
            self.reasons |= origin.reasons
            self.indirect.update((column, effect) for column in origin.sources)


def _location(path: str) -> PurePosixPath:
    return PurePosixPath(path.removeprefix("file://"))
