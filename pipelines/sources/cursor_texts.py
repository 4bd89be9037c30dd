"""Whether a cursor column that is text has the order of what it says.

A database compares texts character by character: `2013-11-01T00:05Z` comes after `2013-11-01 23:00`, `9` after `10`.
Rows behind the position in that order would never land.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipelines.errors import LandingError

if TYPE_CHECKING:
    from pipelines.sources.database import OpenTable

#: Texts whose digits are written as 0: timestamps without offset, with one, and numbers.
_PLAIN = re.compile(r"0000-00-00(?:([ T])00:00:00(?:\.0+)?)?")
_OFFSET = re.compile(r"0000-00-00[ T]00:00:00(?:\.0+)?(?:Z|[+-]00(?::?00)?)")
_ENDING = re.compile(r"^.*?(?=[+-]\d\d(?::?\d\d)?$)")
_NUMBER = re.compile(r"[+-]?0+(?:\.0+)?")
_DATE = re.compile(r"0000-00?-00?|00?[./-]00?[./-]0000")


def refuse_unordered(table: OpenTable, cursor: Any, *, name: str) -> None:
    """Refuses a column of texts whose order is not that of the instants or numbers that they are.

    Timestamps are in order if all are written alike: the same separator; without offset, or with one offset and as many
    digits. Numbers are if they have as many digits, and texts of other forms are what they are.

    Args:
        table: The table.
        cursor: Its cursor column.
        name: The cursor in the error.

    Raises:
        LandingError: naming the forms, with a value of each.
    """
    import sqlalchemy as sa

    if table.line is not None and not isinstance(table.types[cursor.name], sa.String):
        return  # the database has one type for the column, and compares its values
    form: Any = sa.cast(cursor, sa.Text)
    for digit in "123456789":
        form = sa.func.replace(form, digit, "0")
    text = cursor.is_not(None) if table.line is not None else sa.func.typeof(cursor) == "text"
    end = sa.func.substr(sa.cast(cursor, sa.Text), -6) if table.line is None else sa.func.right(cursor, 6)
    offset = sa.case((sa.and_(text, sa.or_(form.like("%+00%"), form.like("%:%-00%"))), end), else_="")
    query = sa.select(text, form, offset, sa.func.min(sa.cast(cursor, sa.Text))).select_from(table.rows)
    groups = table.connection.execute(query.group_by(text, form, offset)).all()
    texts = {(found, _ENDING.sub("", ending)) for is_text, found, ending, _ in groups if is_text}
    if not texts or (all(row[0] for row in groups) and _is_ordered(sorted(texts))):
        return
    raise LandingError(
        object=name,
        observed=f"texts whose order is not that of time or size: {', '.join(repr(row[3]) for row in groups[:4])}",
        expected="one form for all rows, such as 2013-11-01T04:00:00.000Z",
        next_step="write all rows alike in the source, name another cursor, or take a SqlSnapshot of the table",
    )


def _is_ordered(texts: list[tuple[str, str]]) -> bool:
    forms = [form for form, _ in texts]
    if len(texts) == 1:
        return not _DATE.match(forms[0]) or bool(_PLAIN.fullmatch(forms[0]) or _OFFSET.fullmatch(forms[0]))
    plain = [_PLAIN.fullmatch(form) for form in forms]
    if all(plain):
        return len({match[1] for match in plain if match and match[1]}) <= 1
    return not any(plain) and not any(_DATE.match(form) or _NUMBER.fullmatch(form) for form in forms)
