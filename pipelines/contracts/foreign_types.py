"""The types of contracts that others wrote: which of this platform's types holds every value of theirs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipelines.contracts.columns import SQL_TYPES

if TYPE_CHECKING:
    from sqlglot import exp

#: What the decimals of a type without precision get. Values with more digits go to quarantine, none is rounded.
OPEN_DECIMAL = "decimal(38,10)"
#: Names of sqlglot's types -> the SQL type that holds all of their values exactly.
_TYPES = {
    "int": ("TINYINT", "UTINYINT", "SMALLINT", "USMALLINT", "MEDIUMINT", "UMEDIUMINT", "INT", "SERIAL", "SMALLSERIAL",
            "YEAR"),
    "bigint": ("BIGINT", "UINT", "BIGSERIAL"),
    "decimal(20,0)": ("UBIGINT",),
    "double": ("FLOAT", "DOUBLE"),
    "boolean": ("BOOLEAN",),
    "date": ("DATE", "DATE32"),
    "timestamp": ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPLTZ", "TIMESTAMPNTZ", "TIMESTAMP_S", "TIMESTAMP_MS",
                  "TIMESTAMP_NS", "DATETIME", "DATETIME2", "DATETIME64", "SMALLDATETIME"),
    "string": ("CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "BPCHAR", "TEXT", "TINYTEXT", "MEDIUMTEXT", "LONGTEXT", "NAME",
               "UUID", "ENUM", "FIXEDSTRING"),
}  # fmt: skip
_BY_NAME = {name: type for type, names in _TYPES.items() for name in names}
#: Type families of this platform -> the logical type of the standard.
_LOGICAL = {"int": "integer", "bigint": "integer", "double": "number", "decimal": "number", "boolean": "boolean",
            "date": "date", "timestamp": "timestamp", "string": "string"}  # fmt: skip
#: Longer texts are as good as unlimited: `varchar[2147483647]`.
_LONGEST = 65_535


def column_type(logical: str | None, physical: str | None, dialect: str | None) -> tuple[str, str | None]:
    """The SQL type of a column, and what a person has to know of it (None: nothing).

    The physical type decides where it is known, since it says what the values are; else the logical type.

    Args:
        logical: The standard's logical type.
        physical: The type in the system that the data come from.
        dialect: sqlglot's name of that system's SQL dialect; None for no particular one.
    """
    parsed = _parsed(physical, dialect)
    if parsed is not None:
        name = parsed.this.name
        if name in ("DECIMAL", "BIGDECIMAL", "MONEY", "SMALLMONEY"):
            return _decimal(parsed, physical)
        if name in _BY_NAME:
            return _BY_NAME[name], None
        return "string", f"{physical} has no type here: its text is kept as it is"
    if logical in SQL_TYPES:
        remark = (
            f"{physical} is not a type that is known here: the logical type {logical} decides" if physical else None
        )
        return SQL_TYPES[logical], remark
    return "string", f"{physical or f'logical type {logical}'} has no type here: its text is kept as it is"


def longest_text(physical: str | None, dialect: str | None) -> int | None:
    """The length in characters that `varchar(18)` or `char[2]` allows; None for a type without such a limit."""
    parsed = _parsed(physical, dialect)
    if parsed is None or parsed.this.name not in ("CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "BPCHAR"):
        return None
    length = parsed.expressions[0].name if parsed.expressions else ""
    return int(length) if length.isdecimal() and 0 < int(length) <= _LONGEST else None


def typed(type: str) -> dict[str, str]:
    """The `logicalType` of a SQL type, and its `physicalType` where the logical type does not imply it."""
    logical = _LOGICAL[type.partition("(")[0]]
    return {"logicalType": logical} | ({} if SQL_TYPES[logical] == type else {"physicalType": type})


def _parsed(physical: str | None, dialect: str | None) -> exp.DataType | None:
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    if not physical:
        return None
    text = re.sub(r"^(\w*char\w*)\[(\d+)\]$", r"\1(\2)", physical.strip(), flags=re.IGNORECASE)
    for name in (dialect, None, "postgres", "snowflake"):
        try:
            return exp.DataType.build(text, dialect=name)
        except (ParseError, TokenError, ValueError):
            continue
    return None


def _decimal(parsed: exp.DataType, physical: str | None) -> tuple[str, str | None]:
    parameters = [int(e.name) for e in parsed.expressions if e.name.isdecimal()]
    precision, scale = (*parameters, 0)[:2] if parameters else (0, 0)
    if scale <= precision <= 38 and precision:
        return f"decimal({precision},{scale})", None
    return OPEN_DECIMAL, f"{physical} does not say how many digits: {OPEN_DECIMAL} is proposed"
