"""What a plan may do with the rows of another plan that it is made of: lose some, or make several of one.

A plan is row by row if it makes each of its rows from one row of its source, whatever the other rows are. Such rows are
the same when only some rows of the source are read. What is not known here counts as a plan that is not row by row.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.message import Message

from pipelines.lineage.plan_expressions import AGGREGATES, GENERATORS
from pipelines.lineage.plan_sql import parse_expression, parse_identifier

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
#: Functions of PySpark that make several rows of one or none, look at other rows, or differ from call to call.
_OF_OTHER_ROWS = frozenset(
    """cume_dist dense_rank java_method lag lead monotonically_increasing_id nth_value ntile percent_rank rand randn
    randstr rank reflect row_number session_window shuffle spark_partition_id try_reflect uniform uuid window
    window_time""".split()
)
#: Operators, of which `operator` stands for any in SQL, and functions that plans name otherwise than PySpark does.
_OPERATORS = frozenset(
    "% & * + - / < <= <=> == > >= ^ | ~ and chr in map not operator or timestampadd timestampdiff".split()
)
#: `pyspark.util.PythonEvalType` of functions that are called with one row at a time.
_UDFS_OF_ONE_ROW = frozenset([100, 101])


def fates(rows: DataFrame, source: DataFrame) -> frozenset[Fate] | None:
    """What may become of rows of `source` in a plan; None if the plan is not row by row, or holds it more than once.

    If rows may be lost or doubled, but not both, the plan has as many rows as its source only if each of them is there
    once. A plan that reads a table of its source once more counts as one that may do both: a row can come from there.
    """
    root, source_id = _relation_of(rows), _id_of(source)
    found = _fates(root, source_id)
    read_again = _tables(root, without=source_id) & _tables(_relation_of(source), without=None)
    return found if found is None or not read_again else found | _LOST | _DOUBLED


def read_from(rows: DataFrame, source: DataFrame, other: DataFrame) -> DataFrame:
    """The rows of a plan that reads another plan with the same columns in the place of its source."""
    from pyspark.sql.connect.dataframe import DataFrame as ConnectDataFrame
    from pyspark.sql.connect.plan import LogicalPlan

    class Given(LogicalPlan):
        """A plan that is there already."""

        def __init__(self, relation: Any) -> None:
            super().__init__(None)
            self._relation = relation

        def plan(self, session: Any) -> Any:
            return type(self._relation).FromString(self._relation.SerializeToString())

    plan, source_id = Given(_relation_of(rows)), _id_of(source)
    in_place = _relation_of(other)
    for node in _nodes(in_place, source_id):
        node.common.plan_id = plan._plan_id
    in_place.common.plan_id = source_id  # the columns of the source are named by it
    [place] = _nodes(plan._relation, source_id)
    place.CopyFrom(in_place)
    connected: Any = rows
    return ConnectDataFrame(Given(plan._relation), connected.sparkSession)


def _relation_of(frame: DataFrame) -> Any:
    """The `Relation` of a frame, a copy of its own."""
    connected: Any = frame  # DataFrame, the type of both Spark APIs, lacks the plan and the client of Spark Connect
    return connected._plan.plan(connected.sparkSession.client)


def _id_of(frame: DataFrame) -> int:
    connected: Any = frame
    return connected._plan._plan_id


def _fates(node: Any, source: int) -> frozenset[Fate] | None:
    if node.common.plan_id == source:
        return _ONE
    kind = node.WhichOneof("rel_type")
    message = getattr(node, kind)
    if kind == "join":
        sides = [side for side in ("left", "right") if _nodes(getattr(message, side), source)]
        own = _JOINS[sides[0]].get(type(message).JoinType.Name(message.join_type)) if len(sides) == 1 else None
        expressions, below = [message.join_condition], getattr(message, sides[0]) if sides else None
    else:
        own, below = _OF_ONE_INPUT.get(kind), getattr(message, "input", None)
        expressions = [part for part in _parts(message) if part.DESCRIPTOR.name != "Relation"]
    if own is None or not all(map(_of_one_row, expressions)):
        return None
    beneath = _fates(below, source)
    return None if beneath is None else own | beneath


def _nodes(node: Any, plan_id: int) -> list[Any]:
    """The relations of a plan id in a plan, outermost first, without those within them."""
    if node.DESCRIPTOR.name == "Relation" and node.common.plan_id == plan_id:
        return [node]
    return [found for part in _parts(node) for found in _nodes(part, plan_id)]


def _tables(node: Any, *, without: int | None) -> set[PurePosixPath]:
    """The paths and names of tables that a plan reads, without those of the relation `without`."""
    if node.DESCRIPTOR.name == "Relation" and node.common.plan_id == without:
        return set()
    if node.DESCRIPTOR.name == "Read":
        source = node.data_source
        names = [*source.paths, source.options.get("path", ""), node.named_table.unparsed_identifier]
        return {PurePosixPath(name.removeprefix("file://")) for name in names if name}
    return {table for part in _parts(node) for table in _tables(part, without=without)}


def _of_one_row(part: Any) -> bool:
    """Whether the expressions in a part of a relation make one value of those of one row."""
    kind = part.WhichOneof("expr_type") if part.DESCRIPTOR.name == "Expression" else None
    if kind is not None and kind not in _OF_ONE_ROW:
        return False
    if kind == "expression_string":
        parsed = parse_expression(part.expression_string.expression)
        return parsed is not None and _of_one_row(parsed)
    if kind in ("unresolved_function", "call_function"):
        name = parse_identifier(getattr(part, kind).function_name)
        if len(name) != 1 or name[0].casefold() not in _functions_of_one_row():
            return False
    if kind == "common_inline_user_defined_function":
        function = part.common_inline_user_defined_function
        if function.python_udf.eval_type not in _UDFS_OF_ONE_ROW:
            return False
    return all(map(_of_one_row, _parts(part)))


@functools.cache
def _functions_of_one_row() -> frozenset[str]:
    """The names of functions whose value is one of one row, the same at each call."""
    from pyspark.sql import functions

    named = {name.casefold() for name in functions.__all__}
    return frozenset(named - AGGREGATES - GENERATORS - _OF_OTHER_ROWS) | _OPERATORS


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
