"""The expressions inside `F.expr`, `selectExpr` and filter strings, as the messages that column objects would send.

Only what a reading token by token gets exactly right is read: literals, columns, operators, function calls, CASE, CAST,
IN, BETWEEN, IS, a trailing alias. Anything else (windows, lambdas, subqueries) is refused as a whole.
Operators keep their operands, not their precedence: lineage needs no more.
"""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<literal>'(?:[^'\\]|\\.|'')*'|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:[LSYDF]|BD)?(?![\w.]))
    |(?P<name>(?:`(?:[^`]|``)+`|[A-Za-z_]\w*)(?:\.(?:`(?:[^`]|``)+`|\w+))*(?:\.\*)?)
    |(?P<symbol>\|\||<=>|[<>=!]=|<>|[-+*/%<>=()\[\],&|^~]))""",
    re.VERBOSE,
)
_BINARY = frozenset("|| <=> <= >= == != <> + - * / % < > = & | ^ AND OR LIKE ILIKE RLIKE REGEXP DIV".split())
_KEYWORDS = _BINARY | frozenset(
    "NOT IS IN BETWEEN CASE WHEN THEN ELSE END AS OVER FROM SELECT DISTINCT INTERVAL".split()
)
_CONSTANTS = frozenset(["TRUE", "FALSE", "NULL"])
_UNITS = frozenset("YEAR QUARTER MONTH WEEK DAY HOUR MINUTE SECOND MILLISECOND MICROSECOND NANOSECOND".split())
_IDENTIFIER_PART = re.compile(r"`((?:[^`]|``)*)`|([^.`]+)")


def parse_identifier(text: str) -> tuple[str, ...]:
    """`a.b` and `` `a.b`.c `` into their parts."""
    return tuple(quoted.replace("``", "`") or plain for quoted, plain in _IDENTIFIER_PART.findall(text))


def parse_expression(text: str) -> Any | None:
    """The protobuf `Expression` of a SQL expression, or None where it is beyond what is read here."""
    try:
        return _Parser(text).whole()
    except _Refused:
        return None


class _Refused(Exception):
    """The text has something that is not read here."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        text, at = text.rstrip(), 0
        if "--" in text or "/*" in text:
            raise _Refused
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise _Refused
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.tokens.append(("end", ""))
        self.at = 0

    def word(self, ahead: int = 0) -> str:
        """The next token if it is a symbol or an unquoted word, upper case."""
        kind, text = self.tokens[min(self.at + ahead, len(self.tokens) - 1)]
        return "" if kind == "literal" else text.upper()

    def skip(self, *words: str) -> bool:
        found = self.word() in words and self.tokens[self.at][0] != "end"
        self.at += found
        return found

    def expect(self, *words: str) -> None:
        if not self.skip(*words):
            raise _Refused

    def take(self) -> tuple[str, str]:
        self.at += 1
        return self.tokens[self.at - 1]

    def whole(self) -> Any:
        from pyspark.sql.connect import proto

        star = self.tokens[0] if len(self.tokens) == 2 else ("", "")
        if star[1] == "*" or (star[0] == "name" and star[1].endswith(".*")):
            target = None if star[1] == "*" else star[1]
            return proto.Expression(unresolved_star=proto.Expression.UnresolvedStar(unparsed_target=target))
        expression = self.expression()
        named = self.skip("AS")
        kind, text = self.tokens[self.at]
        if kind == "name" and text.upper() not in _KEYWORDS and len(name := parse_identifier(text)) == 1:
            self.at += 1
            alias = proto.Expression.Alias(expr=expression, name=name)
            expression = proto.Expression(alias=alias)
        elif named:
            raise _Refused
        if self.tokens[self.at][0] != "end":
            raise _Refused
        return expression

    def expression(self) -> Any:
        operands = [self.operand()]
        while True:
            if self.skip("IS"):
                self.skip("NOT")
                self.expect(*_CONSTANTS)
                operands.append(_call("is", []))
            elif self.word() == "NOT" or self.word() in ("IN", "BETWEEN"):
                self.skip("NOT")
                if self.word() not in ("IN", "BETWEEN", "LIKE", "ILIKE", "RLIKE", "REGEXP"):
                    raise _Refused
                self.take()
                operands.append(self.operand())
            elif self.skip(*_BINARY):
                operands.append(self.operand())
            else:
                return operands[0] if len(operands) == 1 else _call("operator", operands)

    def operand(self) -> Any:
        if self.skip("NOT", "-", "+", "~"):
            return _call("operator", [self.operand()])
        found = self.primary()
        while self.skip("["):
            found = _call("element", [found, self.expression()])
            self.expect("]")
        return found

    def primary(self) -> Any:
        from pyspark.sql.connect import proto

        if self.skip("("):
            inside = self.arguments()
            return inside[0] if len(inside) == 1 else _call("struct", inside)
        word = self.word()
        kind, text = self.take()
        if kind == "literal" or word in _CONSTANTS:
            return _call("literal", [])
        if word == "CASE":
            return self.case()
        if word == "INTERVAL":
            return self.interval()
        if kind != "name" or word in _KEYWORDS or text.endswith("*"):
            raise _Refused
        if word in ("DATE", "TIMESTAMP") and self.tokens[self.at][0] == "literal":
            self.take()
            return _call("literal", [])
        if self.skip("("):
            if word in ("CAST", "TRY_CAST"):
                return self.cast()
            self.skip("DISTINCT")
            return _call(text, self.arguments())
        return proto.Expression(unresolved_attribute=proto.Expression.UnresolvedAttribute(unparsed_identifier=text))

    def arguments(self) -> list[Any]:
        from pyspark.sql.connect import proto

        found: list[Any] = []
        if self.skip(")"):
            return found
        if self.word() == "*" and self.word(1) == ")":
            self.at += 2
            return [proto.Expression(unresolved_star=proto.Expression.UnresolvedStar())]
        while True:
            found.append(self.expression())
            if self.skip(")"):
                return found
            self.expect(",")

    def case(self) -> Any:
        operands = [] if self.word() == "WHEN" else [self.expression()]
        while self.skip("WHEN", "THEN", "ELSE"):
            operands.append(self.expression())
        self.expect("END")
        return _call("when", operands)

    def interval(self) -> Any:
        while True:
            self.skip("-", "+")
            if self.take()[0] != "literal" or self.take()[1].upper().removesuffix("S") not in _UNITS:
                raise _Refused
            if self.skip("TO") and self.take()[1].upper() not in _UNITS:
                raise _Refused
            if self.tokens[self.at][0] != "literal":
                return _call("literal", [])

    def cast(self) -> Any:
        operand = self.expression()
        self.expect("AS")
        depth = 1
        while depth:
            kind, text = self.take()
            if kind == "end":
                raise _Refused
            depth += {"(": 1, ")": -1}.get(text, 0)
        return _call("cast", [operand])


def _call(name: str, arguments: list[Any]) -> Any:
    from pyspark.sql.connect import proto

    function = proto.Expression.UnresolvedFunction(function_name=name, arguments=arguments)
    return proto.Expression(unresolved_function=function)
