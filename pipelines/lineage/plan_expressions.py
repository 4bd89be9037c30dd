"""Where the value of each kind of Spark Connect expression comes from, and which columns a select list puts out.

A function takes the walk, the message of the expression's kind and the scope around it, and returns the origin of the
value. `EXPRESSIONS` says which function reads which kind. A name is resolved as the analyzer does it: to the column of
that name, qualifier and plan in the input, then to a column that a join or a projection hid, then to an earlier alias
of the same select list, then in the enclosing query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pipelines.lineage.plan_columns import (
    AGGREGATION,
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
from pipelines.lineage.plan_sql import parse_expression, parse_identifier
from pipelines.lineage.plan_walk import ExpressionReader, PlanWalk

#: Spark 4.2's aggregate functions (`pyspark.sql.functions`, section "Aggregate Functions", and their SQL names).
AGGREGATES = frozenset(
    """any any_value approx_count_distinct approx_percentile array_agg avg bit_and bit_or bit_xor bitmap_and_agg
    bitmap_construct_agg bitmap_or_agg bool_and bool_or collect_list collect_set corr count count_distinct count_if
    count_min_sketch covar_pop covar_samp every first first_value grouping grouping_id histogram_numeric hll_sketch_agg
    hll_union_agg kll_merge_agg_bigint kll_merge_agg_double kll_merge_agg_float kll_sketch_agg_bigint
    kll_sketch_agg_double kll_sketch_agg_float kurtosis last last_value listagg listagg_distinct max max_by mean median
    min min_by mode percentile percentile_approx percentile_cont percentile_disc product regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy schema_of_variant_agg skewness some std stddev
    stddev_pop stddev_samp string_agg string_agg_distinct sum sum_distinct theta_intersection_agg theta_sketch_agg
    theta_union_agg try_avg try_sum tuple_intersection_agg_double tuple_intersection_agg_integer
    tuple_sketch_agg_double tuple_sketch_agg_integer tuple_union_agg_double tuple_union_agg_integer var_pop var_samp
    variance""".split()
)
GENERATORS = frozenset(
    "explode explode_outer inline inline_outer json_tuple posexplode posexplode_outer stack variant_explode".split()
)
#: `pyspark.util.PythonEvalType` of functions that make one value of a group.
AGGREGATING_UDFS = frozenset([202, 203, 217, 252, 253, 254])


def resolve(walk: PlanWalk, attribute: Any, scope: Scope) -> tuple[Column, bool]:
    """Returns the column that an attribute names, and whether the attribute is a field inside that column."""
    parts = parse_identifier(attribute.unparsed_identifier)
    owner = walk.scopes.get(attribute.plan_id) if attribute.HasField("plan_id") else None
    for reach in (scope, *reversed(walk.outer)):
        for columns in reach.levels():
            matches, inside = (owner.columns if owner else columns).match(parts)
            if owner:
                keys = {column.key for column in matches}
                matches = [column for column in columns if column.key in keys]
            if matches:
                return one(matches, attribute.unparsed_identifier), inside
    return one([], attribute.unparsed_identifier), False


def outputs(walk: PlanWalk, expressions: Iterable[Any], scope: Scope, node: Any) -> Columns:
    """Returns the columns of a select list; later expressions can use the aliases of earlier ones."""
    columns: list[Column] = []
    scope = replace(scope, earlier=columns)
    for expression in expressions:
        columns += _output(walk, expression, scope)
    if walk.outer or all(column.name for column in columns):
        return Columns(columns)
    names = walk.names(node)
    missing = len(names) - len(columns)
    if missing < 0 or (missing and sum(column.many for column in columns) != 1):
        return Columns(Column(name, unknown("a select list of several `*` was not read")) for name in names)
    expanded = [copy for column in columns for copy in [column] * (1 + missing if column.many else 1)]
    return Columns(
        column if column.name else Column(name, column.origin) for name, column in zip(names, expanded, strict=True)
    )


def _output(walk: PlanWalk, expression: Any, scope: Scope) -> list[Column]:
    kind = expression.WhichOneof("expr_type")
    if kind == "expression_string" and (parsed := parse_expression(expression.expression_string.expression)):
        return _output(walk, parsed, scope)
    if kind == "unresolved_star":
        return _star_columns(walk, expression.unresolved_star, scope)
    if kind == "unresolved_attribute":
        column, inside = resolve(walk, expression.unresolved_attribute, scope)
        if not inside:
            name = parse_identifier(expression.unresolved_attribute.unparsed_identifier)[-1]
            return [replace(column, name=name)]
    origin = walk.origin(expression, scope)
    if kind == "alias":
        return [Column(name, origin) for name in expression.alias.name]
    function = expression.unresolved_function.function_name.casefold()
    return [Column("", origin, many=function in GENERATORS or kind in ("unresolved_regex", "expression_string"))]


def _star_columns(walk: PlanWalk, star: Any, scope: Scope) -> list[Column]:
    """The columns of `*`, `alias.*`, `struct.*` and `df["*"]`."""
    if star.HasField("plan_id"):
        owner = walk.scopes[star.plan_id].columns if star.plan_id in walk.scopes else ()
        by_key = {column.key: column for column in (*scope.hidden, *scope.columns)}
        return [by_key.get(column.key, one([], column.name)) for column in owner]
    if _is_plain(star):
        return list(scope.columns)
    target = parse_identifier(star.unparsed_target.removesuffix(".*"))
    folded = tuple(part.casefold() for part in target)
    if qualified := [column for column in scope.columns if column.qualifier[-len(folded) :] == folded]:
        return qualified
    struct = one(scope.columns.match(target)[0], star.unparsed_target)
    return [Column("", combine([struct.origin], TRANSFORMATION), many=True)]


def _is_plain(star: Any) -> bool:
    """Whether it is `*` alone."""
    return not star.HasField("plan_id") and star.unparsed_target in ("", "*")


def _attribute(walk: PlanWalk, attribute: Any, scope: Scope) -> Origin:
    column, inside = resolve(walk, attribute, scope)
    return combine([column.origin], TRANSFORMATION) if inside else column.origin


def _function(walk: PlanWalk, function: Any, scope: Scope) -> Origin:
    name = function.function_name.casefold()
    arguments = function.arguments
    if name == "count" and not getattr(function, "is_distinct", False):  # a call by name lacks the field
        # `count(*)` counts rows; `count(t.*)` counts those without a null.
        arguments = [a for a in arguments if not (a.HasField("unresolved_star") and _is_plain(a.unresolved_star))]
    origin = combine(walk.origins(arguments, scope), AGGREGATION if name in AGGREGATES else TRANSFORMATION)
    if name in GENERATORS:
        walk.affect([origin], "join")
    return origin


def _udf(walk: PlanWalk, function: Any, scope: Scope) -> Origin:
    aggregates = function.python_udf.eval_type in AGGREGATING_UDFS or function.java_udf.aggregate
    return combine(walk.origins(function.arguments, scope), AGGREGATION if aggregates else TRANSFORMATION)


def _window(walk: PlanWalk, window: Any, scope: Scope) -> Origin:
    sort_keys = [order.child for order in window.order_spec]
    walk.affect(walk.origins([*window.partition_spec, *sort_keys], scope), "window")
    return combine([walk.origin(window.window_function, scope)], AGGREGATION)


def _star(walk: PlanWalk, star: Any, scope: Scope) -> Origin:
    return combine(column.origin for column in _star_columns(walk, star, scope))


def _string(walk: PlanWalk, text: Any, scope: Scope) -> Origin:
    if parsed := parse_expression(text.expression):
        return walk.origin(parsed, scope)
    unread = unknown(f"SQL `{text.expression}` is not read yet")
    walk.affect([unread], "filter")  # it may hold a window or a generator
    return unread


def _subquery(walk: PlanWalk, subquery: Any, scope: Scope) -> Origin:
    reference = walk.references.get(subquery.plan_id)
    if reference is None or subquery.subquery_type == subquery.SUBQUERY_TYPE_TABLE_ARG:
        return unknown("a subquery was not found")
    walk.outer.append(scope)
    inner = walk.relation(reference).columns
    walk.outer.pop()
    tested = walk.origins(subquery.in_subquery_values, scope)
    return Origin() if subquery.subquery_type == subquery.SUBQUERY_TYPE_EXISTS else combine([*inner.origins(), *tested])


def _no_source(*_: Any) -> Origin:
    return Origin()


def _inside(*fields: str, step: int = IDENTITY) -> ExpressionReader:
    """Reads an expression that is computed from the expressions in those of its fields that are set."""

    def read(walk: PlanWalk, expression: Any, scope: Scope) -> Origin:
        parts = [getattr(expression, name) for name in fields if expression.HasField(name)]
        return combine(walk.origins(parts, scope), step)

    return read


#: Kinds of `Expression` that `PlanWalk` can read. The value of any other kind is unknown.
EXPRESSIONS: Mapping[str, ExpressionReader] = {
    "literal": _no_source,
    "unresolved_named_lambda_variable": _no_source,  # its value comes from another argument of the same function
    "unresolved_attribute": _attribute,
    "unresolved_function": _function,
    "call_function": _function,
    "common_inline_user_defined_function": _udf,
    "window": _window,
    "unresolved_star": _star,
    "expression_string": _string,
    "subquery_expression": _subquery,
    "alias": _inside("expr"),
    "sort_order": _inside("child"),
    "named_argument_expression": _inside("value"),
    "lambda_function": _inside("function"),
    "direct_shuffle_partition_id": _inside("child"),
    "cast": _inside("expr", step=TRANSFORMATION),
    "unresolved_extract_value": _inside("child", "extraction", step=TRANSFORMATION),
    "update_fields": _inside("struct_expression", "value_expression", step=TRANSFORMATION),
}
