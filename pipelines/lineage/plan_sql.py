"""SQL expression text as the Spark Connect messages that column objects would send.

`sqlglot` parses the text of `F.expr`, `selectExpr` and filter strings. `_MESSAGES` says how each kind of its nodes is
written as an `Expression`. A text is refused as a whole if it does not parse, or if it holds any other kind of node: a
subquery, a lambda function, a parameter. Operators keep their operands, not their precedence: lineage needs no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import SqlglotError
from sqlglot.parsers.spark import SparkParser
from sqlglot.tokens import Token, TokenType

_IDENTIFIER_PART = re.compile(r"`((?:[^`]|``)*)`|([^.`]+)")
#: Functions that Spark gives a unit as the first of three arguments: `timestampdiff(HOUR, a, b)`.
_UNIT_FIRST = frozenset("date_add date_diff dateadd datediff timestampadd timestampdiff".split())
#: Names without parentheses that are always functions in Sail, but in Spark only if no column has the name.
_BARE_FUNCTIONS = frozenset(["current_date", "current_timestamp", "current_user"])
_UNITS = frozenset("year quarter month week day dayofyear hour minute second millisecond microsecond".split())
_QUANTIFIERS = (TokenType.ALL, TokenType.DISTINCT)


def parse_identifier(text: str) -> tuple[str, ...]:
    """Splits `a.b` and `` `a.b`.c `` into their parts."""
    return tuple(quoted.replace("``", "`") or plain for quoted, plain in _IDENTIFIER_PART.findall(text))


def parse_expression(text: str) -> Any | None:
    """Returns the protobuf `Expression` of a SQL expression, or None where its meaning is not certain."""
    spark = Spark()
    try:
        tokens = spark.tokenize(text)
        if _is_ambiguous(tokens, text):
            return None
        trees = _ExpressionParser(dialect=spark).parse_into(exp.Expr, tokens, text)
        return _message(trees[0]) if len(trees) == 1 and trees[0] else None
    except (SqlglotError, RecursionError, _Refused):
        return None


class _Refused(Exception):
    """The text holds something that `_MESSAGES` cannot express exactly."""


def _trim(parser: SparkParser) -> exp.Expr:
    """`trim(BOTH a FROM b)` and `trim(a FROM b)` as calls with both arguments; any other call as it is written."""

    def trimmed() -> exp.Expr:
        parser._match_texts(("BOTH", "LEADING", "TRAILING"))
        characters = parser._parse_bitwise()
        if not characters or not parser._match(TokenType.FROM):  # `trim(leading FROM a)` may mean the column
            parser.raise_error("no trim with FROM")
        return exp.Anonymous(this="trim", expressions=[characters, parser._parse_bitwise()])

    return parser._try_parse(trimmed) or exp.Anonymous(this="trim", expressions=parser._parse_csv(parser._parse_lambda))


class _ExpressionParser(SparkParser):
    """Spark's grammar of expressions. Every ordinary function call keeps its name and its arguments.

    sqlglot's own parser rewrites the functions that it knows, and reads some columns as keywords on the way: the `a`
    of `date_trunc(a, b)`, the `leading` of `trim(leading)`. Of the calls with a syntax of their own, this parser knows
    those that sqlglot reads exactly, and `trim`. `substring(a FROM b)` does not parse here.
    """

    FUNCTIONS: ClassVar[dict[str, Callable]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Callable]] = {
        name: SparkParser.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST", "EXTRACT", "OVERLAY", "POSITION")
    } | {"TRIM": _trim}
    NO_PAREN_FUNCTIONS: ClassVar[dict] = {}
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict] = {"CASE": SparkParser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
    ARRAY_CONSTRUCTORS: ClassVar[dict] = {}  # `array(a)[0]` is an element, not another array
    #: `+a` is an operation, as `-a` is: the engine does not name the result `a`.
    UNARY_PARSERS: ClassVar[dict] = SparkParser.UNARY_PARSERS | {
        TokenType.PLUS: SparkParser.UNARY_PARSERS[TokenType.DASH]
    }


def _is_ambiguous(tokens: Sequence[Token], text: str) -> bool:
    """Whether sqlglot may read the text otherwise than the engine."""
    if any(token.comments for token in tokens):  # in Spark, a backslash continues a comment on the next line
        return True
    if any(text[token.start] == '"' for token in tokens):  # a setting decides whether "a" is a string or a column
        return True
    # sqlglot reads `f(all)` and `f(distinct, a)` as calls without columns of these names.
    quantified = ((token, after) for token, after in pairwise(tokens) if token.token_type in _QUANTIFIERS)
    return any(after.token_type in (TokenType.COMMA, TokenType.R_PAREN) for _, after in quantified)


def _message(node: exp.Expr) -> Any:
    """The `Expression` of a node."""
    write = _MESSAGES.get(type(node))
    if write is None:
        raise _Refused
    return write(node)


def _expression(**kind: Any) -> Any:
    """The `Expression` of the one kind that is given with its fields."""
    from pyspark.sql.connect import proto

    return proto.Expression(**kind)


def _call(name: str, arguments: Sequence[Any], is_distinct: bool = False) -> Any:
    return _expression(unresolved_function={"function_name": name, "arguments": arguments, "is_distinct": is_distinct})


def _literal(_: exp.Expr) -> Any:
    return _expression(literal={"boolean": True})  # no lineage depends on the value


def _operator(node: exp.Expr) -> Any:
    """A call with the operands of an operator and of the operators nested in it.

    It does not recurse, since a text may chain thousands of operators.
    """
    operands: list[Any] = []
    unread = [node]
    while unread:
        part = unread.pop()
        if type(part) in _OPERATORS:
            unread.extend(part.iter_expressions(reverse=True))
        else:
            operands.append(_message(part))
    return _call("operator", operands)


def _inner(node: exp.Expr) -> Any:
    """The expression in parentheses, or before IGNORE NULLS."""
    return _message(node.this)


def _column(column: exp.Column) -> Any:
    if isinstance(column.this, exp.Star):
        return _star(column.this, f"{_name(column.parts[:-1])}.*")
    name = _name(column.parts)
    if name.casefold() in _BARE_FUNCTIONS:
        raise _Refused
    return _expression(unresolved_attribute={"unparsed_identifier": name})


def _name(parts: Sequence[exp.Expr]) -> str:
    """A name as SQL writes it."""
    if not all(isinstance(part, exp.Identifier) for part in parts):
        raise _Refused
    return ".".join("`{}`".format(part.name.replace("`", "``")) if part.args["quoted"] else part.name for part in parts)


def _star(star: exp.Star, target: str | None = None) -> Any:
    if any(star.args.values()):  # * EXCEPT (a)
        raise _Refused
    return _expression(unresolved_star={"unparsed_target": target})


def _field(dot: exp.Dot) -> Any:
    """A field of a struct, or a name of more than four parts."""
    name = _name([dot.expression])
    owner = _message(dot.this)
    if isinstance(dot.this, exp.Column | exp.Dot) and owner.HasField("unresolved_attribute"):
        owner.unresolved_attribute.unparsed_identifier += f".{name}"
        return owner
    return _expression(unresolved_extract_value={"child": owner, "extraction": _literal(dot)})


def _alias(alias: exp.Alias | exp.Aliases) -> Any:
    names = [alias.args["alias"]] if isinstance(alias, exp.Alias) else alias.expressions
    if not all(isinstance(name, exp.Identifier) for name in names):
        raise _Refused
    # Only a call of a generator has several names; sqlglot also reads `cube (a)` as a column with an alias.
    if isinstance(alias, exp.Aliases) and not isinstance(alias.this, exp.Anonymous):
        raise _Refused
    return _expression(alias={"expr": _message(alias.this), "name": [name.name for name in names]})


def _function(function: exp.Anonymous) -> Any:
    name, arguments = function.name, function.expressions
    if name.casefold() == "identifier":  # its argument is the text of a name
        raise _Refused
    is_distinct = len(arguments) == 1 and isinstance(arguments[0], exp.Distinct)
    if is_distinct:
        arguments = arguments[0].expressions
    if name.casefold() in _UNIT_FIRST and len(arguments) == 3 and _is_unit(arguments[0]):
        arguments = arguments[1:]
    return _call(name, [_message(argument) for argument in arguments], is_distinct)


def _is_unit(argument: exp.Expr) -> bool:
    if not isinstance(argument, exp.Column) or len(argument.parts) > 1:
        return False
    return not argument.this.args.get("quoted") and argument.name.casefold() in _UNITS


def _only(name: str) -> Callable[[Any], Any]:
    """Writes an operation on one operand; its other arguments are keywords: a type, a part of a date."""

    def write(node: exp.Expr) -> Any:
        keywords = [part for part in node.iter_expressions() if part is not node.args[name]]
        if not all(isinstance(part, exp.DataType | exp.Var) for part in keywords):
            raise _Refused
        return _call("operator", [_message(node.args[name])])

    return write


def _interval(interval: exp.Interval) -> Any:
    """A constant. sqlglot also reads `interval - 1` as one, without a unit; to Spark, it is a column minus one."""
    number = interval.this
    if not isinstance(number, exp.Literal):
        raise _Refused
    if interval.args.get("unit") is None and not any(letter.isalpha() for letter in number.name):
        raise _Refused
    return _literal(interval)


def _filtered(aggregate: exp.Filter) -> Any:
    """An aggregate with FILTER: the condition decides its value, as one more argument would."""
    return _with_arguments(_message(aggregate.this), [aggregate.expression.this])


def _ordered_set(aggregate: exp.WithinGroup) -> Any:
    """An aggregate with WITHIN GROUP: the sort keys decide its value, as more arguments would."""
    return _with_arguments(_message(aggregate.this), _sort_keys(aggregate.expression))


def _with_arguments(call: Any, arguments: Sequence[exp.Expr]) -> Any:
    if not call.HasField("unresolved_function"):
        raise _Refused
    call.unresolved_function.arguments.extend(_message(argument) for argument in arguments)
    return call


def _sort_keys(order: exp.Order | None) -> list[exp.Expr]:
    if order is None:
        return []
    if order.this or any(key.args.get("with_fill") for key in order.expressions):
        raise _Refused
    return [key.this for key in order.expressions]


def _window(window: exp.Window) -> Any:
    """A window function with its partition and order. The definition of a named window stands outside the text."""
    frame = window.args.get("spec")
    if window.args.get("alias") or window.args.get("first") is not None or (frame and frame.find(exp.Column)):
        raise _Refused
    return _expression(
        window={
            "window_function": _message(window.this),
            "partition_spec": [_message(key) for key in window.args.get("partition_by") or ()],
            "order_spec": [{"child": _message(key)} for key in _sort_keys(window.args.get("order"))],
        }
    )


#: Nodes whose value is computed from all of their parts.
_OPERATORS = frozenset(
    [
        *(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe, exp.Concat),
        *(exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseXor, exp.BitwiseNot, exp.BitwiseLeftShift, exp.BitwiseRightShift),
        *(exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ, exp.GT, exp.GTE, exp.LT, exp.LTE),
        *(exp.And, exp.Or, exp.Not, exp.Is, exp.Between, exp.In, exp.Case, exp.If, exp.Tuple, exp.Bracket),
        *(exp.Like, exp.ILike, exp.RegexpLike, exp.Escape, exp.Any, exp.All),
        *(exp.Overlay, exp.StrPosition),
    ]
)
_MESSAGES: Mapping[type[exp.Expr], Callable[[Any], Any]] = {
    **dict.fromkeys((exp.Literal, exp.RawString, exp.HexString, exp.Boolean, exp.Null), _literal),
    **dict.fromkeys(_OPERATORS, _operator),
    **dict.fromkeys((exp.Paren, exp.IgnoreNulls, exp.RespectNulls), _inner),
    exp.Column: _column,
    exp.Star: _star,
    exp.Dot: _field,
    exp.Alias: _alias,
    exp.Aliases: _alias,
    exp.Anonymous: _function,
    exp.Cast: _only("this"),
    exp.TryCast: _only("this"),
    exp.Extract: _only("expression"),
    exp.Interval: _interval,
    exp.Filter: _filtered,
    exp.WithinGroup: _ordered_set,
    exp.Window: _window,
}
