"""Whether a plan makes each of its rows from one row of another plan, whatever the other rows are.

Such rows are the same when only some of the rows they are made from are read. What is not known here counts as a plan
that is not of this kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from pipelines.lineage.plan_expressions import AGGREGATES, AGGREGATING_UDFS
from pipelines.lineage.plan_sql import parse_expression

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Kinds of relations, of one input, whose rows are each made from one row of it.
_OF_ONE_INPUT = frozenset(
    """project filter with_columns with_columns_renamed drop to_df to_schema subquery_alias hint repartition
    repartition_by_expression fill_na drop_na replace""".split()
)
#: For a side, the joins that make each row from one row of this side.
_KEPT = {
    "left": "JOIN_TYPE_INNER JOIN_TYPE_LEFT_OUTER JOIN_TYPE_LEFT_SEMI JOIN_TYPE_LEFT_ANTI JOIN_TYPE_CROSS".split(),
    "right": "JOIN_TYPE_INNER JOIN_TYPE_RIGHT_OUTER JOIN_TYPE_CROSS".split(),
}
#: Kinds of expressions that look at the values of one row alone, if what is in them does.
_OF_ONE_ROW = frozenset(
    """literal unresolved_attribute unresolved_function expression_string unresolved_star alias cast unresolved_regex
    lambda_function unresolved_extract_value update_fields unresolved_named_lambda_variable
    common_inline_user_defined_function call_function named_argument_expression""".split()
)
#: Functions whose value depends on the place of a row among the others, or differs from call to call.
_OF_PLACE = frozenset(
    """monotonically_increasing_id spark_partition_id rand random randn randstr uniform uuid shuffle""".split()
)


def is_row_by_row(rows: DataFrame, source: DataFrame) -> bool:
    """Whether each row of a plan comes from one row of `source`, a plan that stands once in it."""
    connected: Any = rows  # DataFrame, the type of both Spark APIs, lacks the plan and the client of Spark Connect
    of: Any = source
    return _relation(connected._plan.plan(connected.sparkSession.client), of._plan._plan_id)


def _relation(node: Any, source: int) -> bool:
    if node.common.plan_id == source:
        return True
    kind = node.WhichOneof("rel_type")
    message = getattr(node, kind)
    if kind == "join":
        sides = [side for side in ("left", "right") if _holds(getattr(message, side), source)]
        join_type = type(message).JoinType.Name(message.join_type)
        if len(sides) != 1 or join_type not in _KEPT[sides[0]] or not _of_one_row(message.join_condition):
            return False
        return _relation(getattr(message, sides[0]), source)
    others = (part for part in _parts(message) if part.DESCRIPTOR.name != "Relation")
    return kind in _OF_ONE_INPUT and all(map(_of_one_row, others)) and _relation(message.input, source)


def _holds(node: Any, source: int) -> bool:
    """Whether a plan, or a part of it, is the source."""
    if node.DESCRIPTOR.name == "Relation" and node.common.plan_id == source:
        return True
    return any(_holds(part, source) for part in _parts(node))


def _of_one_row(part: Any) -> bool:
    """Whether the expressions in a part of a relation look at the values of one row alone."""
    kind = part.WhichOneof("expr_type") if part.DESCRIPTOR.name == "Expression" else None
    if kind is not None and kind not in _OF_ONE_ROW:
        return False
    if kind == "expression_string":
        parsed = parse_expression(part.expression_string.expression)
        return parsed is not None and _of_one_row(parsed)
    if kind in ("unresolved_function", "call_function"):
        name = getattr(part, kind).function_name.casefold()
        if name in AGGREGATES or name in _OF_PLACE:
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
