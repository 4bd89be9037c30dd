"""The type of a column of texts: the one whose values give back every text exactly, else `string`.

`007`, `+7`, `1e5`, an integer of more than 64 bits, `2` beside `2.0` and an instant with nanoseconds stay text, since
the values of a type would merge, round or reword them.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

Kind = Literal["integer", "decimal", "float", "true_false", "True_False", "TRUE_FALSE", "date", "instant", "clock",
               "yes_no", "missing", "text"]  # fmt: skip
#: Texts that stand for a missing value in a column of another type; in a column of text they are texts.
NULL_TOKENS = frozenset(
    "NA N/A n/a #N/A NaN nan NaT null NULL Null none None nil <NA> (null) \\N - -- ?".split()
)  # fmt: skip
#: The share of the texts that have to be of a type for the others to be named.
MOSTLY = 0.75
#: Digits of a decimal type that every engine computes with fastest, and at most.
DECIMAL_DIGITS, MOST_DECIMAL_DIGITS = 18, 38
#: Digits that a double holds of every number.
DOUBLE_DIGITS = 15
#: After so many texts that are of no type, no more texts are looked at.
ENOUGH_TEXTS = 1_000

_INTEGER = re.compile("0|-?[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)\.([0-9]+)")
_FLOAT = re.compile(r"-?[0-9](\.[0-9]+)?e[+-][0-9]{2,3}")
_DAY = re.compile("[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"([1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r" ?(Z|UTC|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)?"
)
_WORDS: dict[str, Kind] = {
    **dict.fromkeys(("true", "false"), "true_false"),
    **dict.fromkeys(("True", "False"), "True_False"),
    **dict.fromkeys(("TRUE", "FALSE"), "TRUE_FALSE"),
    **dict.fromkeys("yes no Yes No YES NO y n Y N".split(), "yes_no"),
    **dict.fromkeys(NULL_TOKENS, "missing"),
}
#: The values of a kind, as notes call them.
_CALLED: dict[Kind, str] = {
    **dict.fromkeys(("integer", "decimal", "float"), "numbers"),
    **dict.fromkeys(("true_false", "True_False", "TRUE_FALSE"), "true and false"),
    **dict.fromkeys(("instant", "clock"), "instants"),
    "date": "days",
}
#: Names of codes whose leading zeros count, even if no value has one yet.
_CODE = re.compile(
    r"(.*_)?(zip|zip_?code|postal|post_?code|postal_?code|plz|ean|ean_?13|gtin|upc|isbn|issn|phone|telephone|tel|mobile|fax"
    r"|iban|bic|swift|ssn|tax_?id|vat|sku|fips|siren|siret|nace|sic|naics|code)(_(no|nr|number|code))?"
)


@dataclass(slots=True)
class ColumnTexts:
    """What the texts of one column have in common, as they are added.

    Attributes:
        name: The column's name in the file.
        own_type: The SQL type that the file declares for it, which is not guessed again; None if it declares none.
        kinds: How many texts are of which kind.
        nulls: How many values are missing or empty.
        tokens: The texts seen that may stand for a missing value.
        scales: The numbers of digits after the point.
        integer_digits: The most digits before the point.
        digits: The most digits of a number with a point.
        shortest: Whether each number is written as the shortest text of its double.
        ends_in_zero: Whether an integer is written with `.0`.
        wide_integers: Whether an integer is beyond what a double holds exactly.
        not_finite: Whether a NaN or an infinity was seen.
        nanoseconds: Whether an instant has more digits than microseconds.
        padded: How many texts have a type without the space around them.
        odd: A text that is of no type, and its place.
    """

    name: str
    own_type: str | None = None
    kinds: Counter[Kind] = field(default_factory=Counter)
    nulls: int = 0
    tokens: set[str] = field(default_factory=set)
    scales: set[int] = field(default_factory=set)
    integer_digits: int = 0
    digits: int = 0
    shortest: bool = True
    ends_in_zero: bool = False
    wide_integers: bool = False
    not_finite: bool = False
    nanoseconds: bool = False
    padded: int = 0
    odd: tuple[str, str] | None = None

    def add(self, text: str, times: int, place: str) -> None:
        """Adds a text that occurs `times` times, first at `place`."""
        if text == "":
            self.nulls += times
        elif self.own_type:
            self._add_own(text)
        elif self.kinds["text"] < ENOUGH_TEXTS:
            kind = kind_of(text)
            self.kinds[kind] += times
            if kind == "missing":
                self.tokens.add(text)
            elif kind in ("integer", "decimal", "float"):
                self._add_number(kind, text)
            elif kind == "text":
                self.padded += times if kind_of(text.strip()) != "text" else 0
                self.odd = self.odd or (text, place)

    def _add_own(self, text: str) -> None:
        self.not_finite |= text.lower().lstrip("+-") in ("nan", "inf", "infinity")
        fraction = re.search(r"\.([0-9]+)", text) if self.own_type == "timestamp" else None
        self.nanoseconds |= fraction is not None and len(fraction[1].rstrip("0")) > 6

    def _add_number(self, kind: Kind, text: str) -> None:
        if kind == "integer":
            self.wide_integers |= abs(int(text)) > 1 << 53
            return
        self.shortest &= repr(float(text)) == text
        self.ends_in_zero |= text.endswith(".0")
        if kind == "decimal":
            whole, _, fraction = text.lstrip("-").partition(".")
            self.scales.add(len(fraction))
            self.integer_digits = max(self.integer_digits, len(whole))
            self.digits = max(self.digits, len((whole + fraction).lstrip("0")))

    @property
    def type(self) -> str:
        """The SQL type of the column."""
        if self.own_type:
            return "string" if self.nanoseconds else self.own_type
        kinds = self._kinds
        if len(kinds) == 1 and not _CODE.fullmatch(snake_case(self.name)):
            [kind] = kinds
            types: dict[Kind, str] = {"integer": "bigint", "date": "date", "instant": "timestamp", "clock": "timestamp"}
            if kind in types:
                return types[kind]
            if kind.lower() == "true_false":
                return "boolean"
        return self._number() if kinds <= {"integer", "decimal", "float"} and kinds else "string"

    def _number(self) -> str:
        """A type of numbers with a point, if one gives back every text; the texts are numbers."""
        kinds = self._kinds
        has_one_scale = kinds == {"decimal"} and len(self.scales) == 1
        if has_one_scale and not (self.shortest and self.digits <= DOUBLE_DIGITS):
            [scale] = self.scales
            needed = self.integer_digits + scale
            digits = DECIMAL_DIGITS if needed <= DOUBLE_DIGITS else MOST_DECIMAL_DIGITS
            return f"decimal({digits},{scale})" if needed <= digits else "string"
        is_mixed = "integer" in kinds
        is_double = (
            self.shortest and kinds != {"integer"} and not (is_mixed and (self.ends_in_zero or self.wide_integers))
        )
        return "double" if is_double else "string"

    @property
    def _kinds(self) -> set[Kind]:
        return {kind for kind, times in self.kinds.items() if times and kind != "missing"}

    @property
    def null_tokens(self) -> list[str]:
        """The texts that stand for a missing value, if the column is not one of text."""
        return [] if self.type == "string" else sorted(self.tokens)

    @property
    def note(self) -> str | None:
        """What a person should know about the type, in words; None if there is nothing."""
        if self.own_type:
            return f"{self.name} is text: it has instants with nanoseconds" if self.nanoseconds else None
        texts = sum(self.kinds.values()) - self.kinds["missing"]
        typed = texts - self.kinds["text"]
        if self.type == "timestamp" and self.kinds["clock"]:
            return f"{self.name} has no UTC offset: it is read as UTC unless the contract names its timezone"
        if self.type != "string" or not texts or typed + self.padded < MOSTLY * texts:
            return None
        if self.padded:
            return f"{self.name.strip()} is text: {self.padded:,} texts are values but for the space around them"
        if self.odd:
            text, place = self.odd
            return f"{self.name} is text: {self._said(f'{typed:,} of {texts:,}')}, and not {text!r} ({place})"
        if self._kinds == {"yes_no"}:
            return f"{self.name} is text: {self._said('all')}, if that is what they mean"
        if _CODE.fullmatch(snake_case(self.name)) and len(self._kinds) == 1:
            return f"{self.name} is text: it is named like a code, whose leading zeros count"
        return f"{self.name} is text: no type gives back every text as it is written"

    def _said(self, counted: str) -> str:
        """What reads so many of the texts, in words."""
        kinds = self._kinds - {"text"}
        if kinds == {"yes_no"}:
            return f"a column declared `boolean` reads {counted} texts, as yes and no"
        values = sorted({_CALLED.get(kind, "yes and no") for kind in kinds})
        return f"a type of {' or '.join(values)} gives back {counted} texts"


@functools.lru_cache(maxsize=65_536)
def kind_of(text: str) -> Kind:
    """The kind of a text that is written as the values of its type are."""
    word = _WORDS.get(text)
    if word:
        return word
    if _INTEGER.fullmatch(text):
        return "integer" if -(1 << 63) <= int(text) < 1 << 63 else "text"
    decimal = _DECIMAL.fullmatch(text)
    if decimal:
        is_negative_zero = decimal[1] and not (decimal[2] + decimal[3]).strip("0")
        return "text" if is_negative_zero or len(text) > MOST_DECIMAL_DIGITS + 2 else "decimal"
    if _FLOAT.fullmatch(text):
        return "float" if repr(float(text)) == text else "text"
    if _DAY.fullmatch(text):
        return "date" if _exists(date, text) else "text"
    instant = _INSTANT.fullmatch(text)
    if instant and _exists(datetime, instant[1] + (instant[2] or "").replace("UTC", "Z")):
        return "instant" if instant[2] else "clock"
    return "text"


def _exists(kind: Any, text: str) -> bool:
    """Whether a day, or an instant whose UTC date is in the years 1000 to 9999, exists."""
    try:
        value = kind.fromisoformat(text)
        if kind is datetime and value.tzinfo:
            value = value.astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return bool(value.year >= 1000)


def snake_case(name: str) -> str:
    """A name in lower case with underscores: `Order ID`, `orderId` and `order-id` are `order_id`."""
    words = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub("[^a-z0-9]+", "_", words.lower()).strip("_")
