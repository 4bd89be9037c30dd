"""What SQL that a person wrote may read: the rows that it is meant for, and nothing else of the machine or the session.

`sqlglot` parses the text in Spark's dialect. A text that it cannot parse is refused, and so are comments, in which
dialects differ: what is checked has to be what an engine computes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from pipelines.contracts.nodes import Place, refuse

#: How a query names the rows that are to be published.
TABLE = re.compile(r"\$?\{table\}")
_PLACEHOLDER = "goldpath_rows"
#: Functions that call any Java method, or read something else than their arguments.
_REFUSED_FUNCTIONS = frozenset(
    {"reflect", "java_method", "try_reflect", "read_files", "input_file_name", "input_file_block_start",
     "input_file_block_length"}
)  # fmt: skip
#: What sqlglot reads as columns where Spark has a keyword, as in `timestampadd(HOUR, 1, a)`.
_KEYWORDS = frozenset(
    "year quarter month week day dayofyear hour minute second millisecond microsecond leading trailing both".split()
)


def is_query(text: str) -> bool:
    """Whether the text is a complete SELECT, not an expression."""
    return re.match(r"[\s(]*(select|with|from|values|table)\b", text, re.IGNORECASE) is not None


def require_expression(path: Path, text: str, at: Place, *, columns: Collection[str] | None = None) -> None:
    """Raises ContractError unless the text is one expression over the columns of a row.

    Args:
        path: The contract file.
        text: The SQL.
        at: Its place in the file.
        columns: The columns that it may name; None where the table's transform may add some.
    """
    from sqlglot import exp

    tree = parsed(f"SELECT {text}", partial(refuse, path, at, text))
    inner = list(tree.find_all(exp.Query, exp.From))
    expressions = tree.expressions if isinstance(tree, exp.Select) else []
    if len(expressions) != 1 or isinstance(expressions[0], exp.Star) or inner != [tree]:
        refuse(path, at, text, "one SQL expression over the columns of a row, without a SELECT or FROM in it")
    if any(value for key, value in tree.args.items() if key not in ("expressions", "kind")):
        refuse(path, at, text, "one SQL expression over the columns of a row")
    known = {name.lower() for name in columns or ()} | _KEYWORDS
    for column in tree.find_all(exp.Column) if columns is not None else ():
        name = column.parts[0].name
        if name.lower() not in known and not isinstance(column.this, exp.Star):
            refuse(path, at, text, f"only columns of the table, not {name!r}: {', '.join(columns or ())}")


def require_query(path: Path, text: str, at: Place) -> None:
    """Raises ContractError unless the text is one SELECT over `{table}` and what it derives from that alone."""
    from sqlglot import exp

    tree = parsed(TABLE.sub(_PLACEHOLDER, text), partial(refuse, path, at, text))
    if not isinstance(tree, exp.Query):
        refuse(path, at, text, "a SELECT over {table}")
    read = tables_read(tree)
    for table in read:
        if not is_plain(table) or table.name.lower() != _PLACEHOLDER:
            refuse(path, at, text, f"a SELECT over {{table}} alone, not over {table.sql(dialect='spark')}")
    if not read:
        refuse(path, at, text, "a SELECT over {table}")


def is_plain(table: Any) -> bool:
    """Whether a table of a syntax tree is named by one identifier: no path, no function, no other catalog's."""
    from sqlglot import exp

    return isinstance(table.this, exp.Identifier) and not table.args.get("db")


def tables_read(tree: Any) -> list[Any]:
    """The tables that a query reads from outside: all but the names that it defines itself where they are read."""
    from sqlglot import exp

    return [table for table in tree.find_all(exp.Table) if not (is_plain(table) and _is_defined(table))]


def _is_defined(table: Any) -> bool:
    """Whether a query around a table has defined its name before, by WITH."""
    from sqlglot import exp

    inner, node = None, table
    while node is not None:
        for cte in node.ctes if isinstance(node, exp.Query) else ():
            if cte is inner:
                break
            if cte.alias.lower() == table.name.lower():
                return True
        inner, node = (node if isinstance(node, exp.CTE) else inner), node.parent
    return False


def parsed(text: str, refused: Callable[[str], NoReturn]) -> Any:
    """The syntax tree of one statement that calls no refused function.

    Args:
        text: The SQL, in Spark's dialect.
        refused: Called with what is expected instead, in words.
    """
    from sqlglot import exp
    from sqlglot.dialects.spark import Spark
    from sqlglot.errors import SqlglotError

    try:
        tokens = Spark().tokenize(text)
        trees = Spark().parser().parse(tokens, text)
    except (SqlglotError, RecursionError, ValueError) as error:
        words = str(error).partition("\n")[0]
        refused(f"SQL that can be parsed: {words}")
    if any(token.comments for token in tokens):
        refused("SQL without comments")
    if len(trees) != 1 or trees[0] is None:
        refused("one SQL statement")
    for node in trees[0].walk():
        if isinstance(node, exp.Func):
            name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
            if name.lower() in _REFUSED_FUNCTIONS:
                refused(f"no function that reads or calls something else, as {name} does")
        if isinstance(node, exp.QueryTransform | exp.Command | exp.DDL | exp.Into | exp.Parameter | exp.Placeholder):
            refused("SQL that reads rows, and does nothing else")
    return trees[0]
