"""What a plan may do with the rows of another plan that it is made of: lose some, or make several of one.

A plan is row by row if it makes each of its rows from one row of its source, whatever the other rows are. Such rows are
the same when only some rows of the source are read. What is not known here counts as a plan that is not row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.message import Message

from pipelines.lineage.plan_expressions import AGGREGATES, AGGREGATING_UDFS, GENERATORS
from pipelines.lineage.plan_sql import parse_expression

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: What may become of a row of the source.
Fate = Literal["lost", "doubled"]
_ONE: frozenset[Fate] = frozenset()
_LOST: frozenset[Fate] = frozenset(["lost"])
_DOUBLED: frozenset[Fate] = frozenset(["doubled"])
#: Kinds of relations, of one input, that make each row from one row of it.
_OF_ONE_INPUT: Mapping[str, frozenset[Fate]] = dict.fromkeys(
    """project with_columns with_columns_renamed drop to_df to_schema subquery_alias hint repartition
    repartition_by_expression fill_na replace""".split(),
    _ONE,
) | {"filter": _LOST, "drop_na": _LOST}
#: For a side, the joins that make each row from one row of this side.
_JOINS: Mapping[str, Mapping[str, frozenset[Fate]]] = {
    "left": {
        "JOIN_TYPE_INNER": _LOST | _DOUBLED,
        "JOIN_TYPE_CROSS": _LOST | _DOUBLED,
        "JOIN_TYPE_LEFT_OUTER": _DOUBLED,
        "JOIN_TYPE_LEFT_SEMI": _LOST,
        "JOIN_TYPE_LEFT_ANTI": _LOST,
    },
    "right": {
        "JOIN_TYPE_INNER": _LOST | _DOUBLED,
        "JOIN_TYPE_CROSS": _LOST | _DOUBLED,
        "JOIN_TYPE_RIGHT_OUTER": _DOUBLED,
    },
}
#: Kinds of expressions that make one value of those of one row, if what is in them does.
_OF_ONE_ROW = frozenset(
    """literal unresolved_attribute unresolved_function expression_string unresolved_star alias cast unresolved_regex
    lambda_function unresolved_extract_value update_fields unresolved_named_lambda_variable
    common_inline_user_defined_function call_function named_argument_expression""".split()
)
#: Functions whose value depends on the place of a row among the others, or differs from call to call.
_OF_PLACE = frozenset(
    """monotonically_increasing_id spark_partition_id rand random randn randstr uniform uuid shuffle""".split()
)


def fates(rows: DataFrame, source: DataFrame) -> frozenset[Fate] | None:
    """What may become of rows of `source` in a plan; None if the plan is not row by row, or holds it more than once.

    If rows may be lost or doubled, but not both, the plan has as many rows as its source only if each of them is there
    once.
    """
    connected: Any = rows  # DataFrame, the type of both Spark APIs, lacks the plan and the client of Spark Connect
    of: Any = source
    return _relation(connected._plan.plan(connected.sparkSession.client), of._plan._plan_id)


def _relation(node: Any, source: int) -> frozenset[Fate] | None:
    if node.common.plan_id == source:
        return _ONE
    kind = node.WhichOneof("rel_type")
    message = getattr(node, kind)
    if kind == "join":
        sides = [side for side in ("left", "right") if _holds(getattr(message, side), source)]
        own = _JOINS[sides[0]].get(type(message).JoinType.Name(message.join_type)) if len(sides) == 1 else None
        expressions, below = [message.join_condition], getattr(message, sides[0]) if sides else None
    else:
        own, below = _OF_ONE_INPUT.get(kind), getattr(message, "input", None)
        expressions = [part for part in _parts(message) if part.DESCRIPTOR.name != "Relation"]
    if own is None or not all(map(_of_one_row, expressions)):
        return None
    beneath = _relation(below, source)
    return None if beneath is None else own | beneath


def _holds(node: Any, source: int) -> bool:
    """Whether a plan, or a part of it, is the source."""
    if node.DESCRIPTOR.name == "Relation" and node.common.plan_id == source:
        return True
    return any(_holds(part, source) for part in _parts(node))


def _of_one_row(part: Any) -> bool:
    """Whether the expressions in a part of a relation make one value of those of one row."""
    kind = part.WhichOneof("expr_type") if part.DESCRIPTOR.name == "Expression" else None
    if kind is not None and kind not in _OF_ONE_ROW:
        return False
    if kind == "expression_string":
        parsed = parse_expression(part.expression_string.expression)
        return parsed is not None and _of_one_row(parsed)
    if kind in ("unresolved_function", "call_function"):
        name = getattr(part, kind).function_name.casefold()
        if name in AGGREGATES or name in GENERATORS or name in _OF_PLACE:
            return False
    if kind == "common_inline_user_defined_function":
        function = part.common_inline_user_defined_function
        if function.python_udf.eval_type in AGGREGATING_UDFS or function.java_udf.aggregate:
            return False
    return all(map(_of_one_row, _parts(part)))


def _parts(message: Any) -> list[Any]:
    """The messages that stand directly in a message."""
    found: list[Any] = []
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        if field.message_type.GetOptions().map_entry:
            found += [each for each in value.values() if hasattr(each, "DESCRIPTOR")]
        elif isinstance(value, Message):
            found.append(value)
        else:
            found += value
    return found
