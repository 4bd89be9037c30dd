"""Personal data that a silver contract masks: in the values of its table, and in what is shown of the rows behind it.

A column is masked after the transform and before its rules are judged, so that no version of the table holds what is
masked. Where a contract masks a column, everything that leaves the rows of bronze is masked: reasons, the rows in
quarantine, and what commands print of a record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.contracts.model import Contract, MaskKind
from pipelines.tables import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Letters and digits of any script, by ranges: \w and \p{L} do not mean the same to Java, Rust and RE2.
_LETTERS = (
    "A-Za-z\u00aa-\u1fff\u2c00-\u2dff\u3040-\ud7ff\uf900-\ufdff\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc"
    "\U00010000-\U0010ffff"
)
_WORD = f"0-9_\uff10-\uff19{_LETTERS}"
_OPEN, _CLOSE = r"[ \t]?[\[({<]{1,2}[ \t]?", r"[ \t]?[\])}>]{1,2}[ \t]?"
_AT = "(?:[@\uff20]|%40|&#0{0,4}64;|&#[xX]0{0,4}40;|&commat;|" + rf"{_OPEN}(?:(?i:at)|@){_CLOSE})"
_DOT_IN_WORDS = rf"(?:{_OPEN}(?:(?i:dot)|\.){_CLOSE}|[ \t](?i:dot)[ \t])"
_DOT = f"(?:[.\uff0e\u3002]|&#0{{0,4}}46;|&period;|{_DOT_IN_WORDS})"
# Repetitions are bounded: Java would need time in the square of the length of a text that holds no address.
_LOCAL = rf"(?:[{_WORD}.!#$%&'*+^~-]|\\u[0-9A-Fa-f]{{4}}){{1,64}}"
_QUOTED = r'"[^"\x00-\x1f]{1,64}"'
_TOP = f"[{_LETTERS}][{_WORD}-]+"
_DOMAIN = rf"(?:[{_WORD}-]+{_DOT}){{1,9}}{_TOP}"
_ADDRESS_LITERAL = r"\[(?:IPv6:)?[0-9A-Fa-f:.]{3,45}\]"
_IN_WORDS = rf"[ \t](?i:at)[ \t](?:[{_WORD}-]+{_DOT_IN_WORDS}){{1,9}}{_TOP}"

#: Of each kind what is replaced, as a regular expression of both engines and of Arrow. The first group is kept: in JSON
#: text, the escape of a line break or tab before an address.
_PATTERNS: Mapping[MaskKind, str] = {
    "email": rf"(\\[nrtbf])?(?:{_LOCAL}|{_QUOTED})"
    rf"(?:{_AT}(?:{_DOMAIN}|{_ADDRESS_LITERAL}|(?i:localhost))|{_IN_WORDS})",
}


#: Without one of these, a text holds nothing to mask.
_HINT = re.compile(r"[@\uff20]|%40|&#|&commat;|[\s\[({<]at[\s\])}>]", re.IGNORECASE)


def kinds(contract: Contract) -> tuple[MaskKind, ...]:
    """What any column of the contract masks, in a fixed order; empty for a contract that masks nothing."""
    return tuple(sorted({kind for column in contract.columns for kind in column.mask}))


def rules(contract: Contract) -> dict[str, str]:
    """The patterns that the contract's masks stand for: rows that were derived by others are derived again."""
    return {kind: _PATTERNS[kind] for kind in kinds(contract)}


def masked(value: Column, mask: tuple[MaskKind, ...]) -> Column:
    """A text column with everything of these kinds replaced by the kind's name in brackets."""
    from pyspark.sql import functions as F

    for kind in mask:
        value = F.regexp_replace(value, _PATTERNS[kind], f"$1[{kind}]")
    return value


def shown(name: str, contract: Contract) -> Column:
    """A column as people are shown its value: as text, with everything masked that any column of the contract masks."""
    from pyspark.sql import functions as F

    return masked(F.col(quoted(name)).cast("string"), kinds(contract)).alias(name)


def masked_text(text: str, mask: tuple[MaskKind, ...]) -> str:
    """The same of one text, without an engine; in time that is linear in its length."""
    if not mask or not _HINT.search(text):
        return text
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them
    for kind in mask:
        [value] = pc.replace_substring_regex(pa.array([text]), _PATTERNS[kind], rf"\1[{kind}]")
        text = value.as_py()
    return text


def masked_values(value: Any, mask: tuple[MaskKind, ...]) -> Any:
    """A value of JSON with the texts in it masked, at any depth; names of objects and other values are kept."""
    if isinstance(value, str):
        return masked_text(value, mask)
    if isinstance(value, Mapping):
        return {name: masked_values(part, mask) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [masked_values(part, mask) for part in value]
    return value


def masked_columns(contract: Contract, rows: DataFrame) -> DataFrame:
    """Rows of a silver table with the columns that its contract masks, and the texts kept beside them, masked."""
    from pyspark.sql import functions as F

    columns = {column.name: column.mask for column in contract.columns if column.mask}
    columns |= dict.fromkeys(contract.variant_columns if columns else (), kinds(contract))
    masks = {name: masked(F.col(quoted(name)), mask) for name, mask in columns.items()}
    return rows.withColumns(masks) if masks else rows
