"""How a delivery seems to be written: its format, its encoding, its delimiter and the names of its columns.

What no format can read is refused with the line and the remedy.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.contracts.model import Format
from pipelines.errors import LandingError
from pipelines.landing.delivery import Delivery
from pipelines.landing.formats.base import BLOCK_BYTES
from pipelines.landing.formats.opening import other_kind, unpacked
from pipelines.landing.zone import Landing

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = ",;\t|"
#: Bytes of a text in which its delimiter and its header are sought.
HEAD_BYTES = 1 << 20
#: Bytes of a text in which its encoding is sought.
ENCODING_BYTES = 64 << 20
#: Rows of a text that are compared with its header.
HEAD_ROWS = 1_000
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROLS = bytes(set(range(32)) - set(b"\t\r\n\f\x1a\x1b\0"))
_ARRAY = re.compile(r'\[\s*(\[|\{|"|\]|-?[0-9]|true|false|null|$)')
_MARKUP = re.compile(r"<(!doctype|html|\?xml|!--|[a-z][\w:.-]*[\s/>])", re.IGNORECASE)
#: A name that is a value: a number, a day or an instant.
_VALUE = re.compile(r"[+-]?[0-9]+([.,][0-9]+)*|[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Sniffed:
    """How a delivery seems to be written.

    Attributes:
        format: Its format.
        names: The names of its columns, as the file gives them; of JSON lines, those of the first objects.
        delimiter: Between the fields of a csv file.
        encoding: Of a text.
        own_types: The SQL types that the file itself declares, by column; None for one that no SQL type holds exactly.
    """

    format: Format
    names: tuple[str, ...]
    delimiter: str = ","
    encoding: str = "utf-8"
    own_types: Mapping[str, str | None] = field(default_factory=dict)


def sniff(landing: Landing, delivery: Delivery) -> Sniffed:
    """How a delivery seems to be written.

    Raises:
        LandingError: if it is empty, damaged or of a kind that no format reads; it names the line and the remedy.
    """
    try:
        with landing.open(delivery) as stream:
            head = stream.read(64)
        if head.startswith(b"PAR1"):
            return _parquet(landing, delivery)
        kind = other_kind(head)
        if kind:
            _refuse(delivery, f"it is {kind}")
        encoding, text = _text(landing, delivery)
    except (OSError, ValueError, EOFError) as error:
        _refuse(delivery, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    start = text.lstrip()
    if not start:
        _refuse(delivery, "it is empty, or has nothing but blank lines", "a header, or an object on each line")
    if _MARKUP.match(start):
        _refuse(delivery, "it is an HTML or XML document")
    if _ARRAY.match(start.partition("\n")[0]):
        _refuse(delivery, "it is one JSON array", "one JSON object on each line", "convert it: jq -c '.[]'")
    if start.startswith("{"):
        return Sniffed("jsonl", _json_names(delivery, text), encoding=encoding)
    names, delimiter = _header(delivery, text)
    return Sniffed("csv", names, delimiter, encoding)


def _refuse(
    delivery: Delivery,
    observed: str,
    expected: str = "CSV with a header, JSON lines or Parquet, plain or packed with gzip or zstd",
    next_step: str = "convert it, and land the result under another name; or ask the source for one of these",
) -> NoReturn:
    raise LandingError(
        object=f"delivery {delivery.uri}",
        observed=observed,
        expected=expected,
        next_step=next_step,
        code="not_recognized",
    )


def _parquet(landing: Landing, delivery: Delivery) -> Sniffed:
    import pyarrow.parquet as pq

    with landing.open(delivery) as stream:
        schema = pq.ParquetFile(stream).schema_arrow
    if not schema.names:
        _refuse(delivery, "a Parquet file without columns")
    return Sniffed("parquet", tuple(schema.names), own_types={column.name: _sql_type(column.type) for column in schema})


def _sql_type(kind: pa.DataType) -> str | None:
    """The SQL type that holds every value of an Arrow type exactly; None if there is none, so that it stays text."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _sql_type(kind.value_type)
    if pa.types.is_uint64(kind):
        return "decimal(20,0)"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if 0 <= kind.scale <= kind.precision <= 38 else None
    types = {
        pa.types.is_integer: "bigint",
        pa.types.is_boolean: "boolean",
        pa.types.is_date: "date",
        pa.types.is_timestamp: "timestamp",
        pa.types.is_float64: "double",
        pa.types.is_float32: "float",
        pa.types.is_float16: "float",
        pa.types.is_string: "string",
        pa.types.is_large_string: "string",
        pa.types.is_string_view: "string",
    }
    return next((name for is_kind, name in types.items() if is_kind(kind)), None)


def _text(landing: Landing, delivery: Delivery) -> tuple[str, str]:
    """The encoding of a text, and its beginning: whole lines, unless it has none."""
    with unpacked(landing, delivery) as stream:
        head = stream.read(HEAD_BYTES)
        mark = next((mark for mark in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
        encoding = _BYTE_ORDER_MARKS[mark] if mark else _wide(head)
        if encoding is None or encoding == "utf-8":
            if head.rstrip(b"\0").count(b"\0") * HEAD_ROWS > len(head):
                _refuse(delivery, "it is no text: it has NUL bytes")
            if len(head.translate(None, _CONTROLS)) * 100 < len(head) * 95:
                _refuse(delivery, "it is no text: it has many control characters")
            encoding = _narrow(head, stream)
    whole = len(head) < HEAD_BYTES
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head, whole).removeprefix("\ufeff").rstrip("\0")
    cut = max(text.rfind("\n"), text.rfind("\r"))
    return encoding, text if whole or cut < 0 else text[: cut + 1]


def _wide(head: bytes) -> str | None:
    """UTF-16 without a byte order mark, if every other byte of most characters is NUL."""
    for encoding, first in (("utf-16-le", 1), ("utf-16-be", 0)):
        half = head[first::2]
        if half and half.count(b"\0") * 2 > len(half) and head[1 - first :: 2].count(b"\0") * 10 < len(half):
            return encoding
    return None


def _narrow(head: bytes, stream: Any) -> str:
    """UTF-8, if the lines that are not ASCII are UTF-8 more often than not; else a Western encoding of one byte."""
    valid = invalid = scanned = 0
    high: set[int] = set()
    rest = b""
    block = head
    while block and scanned < ENCODING_BYTES:
        scanned += len(block)
        whole, newline, rest = (rest + block).rpartition(b"\n")
        try:
            (whole + newline).decode()
            valid += not whole.isascii()
        except UnicodeDecodeError:
            for line in whole.split(b"\n"):
                if not line.isascii():
                    is_utf8 = _is_utf8(line)
                    valid, invalid = valid + is_utf8, invalid + (not is_utf8)
                    high.update(b for b in line if b > 127)
        block = stream.read(BLOCK_BYTES)
    if not block and not _is_utf8(rest):
        invalid += 1
        high.update(b for b in rest if b > 127)
    if valid >= invalid:
        return "utf-8"
    windows = high & set(range(0x80, 0xA0))
    return "cp1252" if windows and not windows & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "latin-1"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _json_names(delivery: Delivery, text: str) -> tuple[str, ...]:
    """The names in the first objects; at least half of the lines have to be objects."""
    names: dict[str, None] = {}
    objects, problem = 0, ""
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip("\r \t")]
    lines = numbered[:HEAD_ROWS]
    for number, line in lines:
        try:
            record = json.loads(line)
            if isinstance(record, dict):
                names |= dict.fromkeys(record)
                objects += 1
                continue
            error = "no object"
        except (ValueError, RecursionError) as failure:
            error = str(failure)
        problem = problem or f"line {number} is no JSON object ({error}): {line[:_SHOWN_CHARACTERS]}"
    if objects * 2 < len(lines) or not names:
        remedy = "write each object on one line (of a JSON document: jq -c .), or correct the line"
        _refuse(delivery, problem or "no object has a value", "one JSON object on each line", remedy)
    return tuple(names)


def _header(delivery: Delivery, text: str) -> tuple[tuple[str, ...], str]:
    """The names of a CSV file's columns, and its delimiter: the one that gives most rows the same number of fields."""
    if re.match("sep=.?[\r\n]", text, re.IGNORECASE):
        _refuse(delivery, "line 1 is `sep=`, a word to Excel", "a header in line 1", _without(1))
    parsed = {delimiter: _rows(delivery, text, delimiter) for delimiter in DELIMITERS}
    shares = {delimiter: _common(rows) for delimiter, rows in parsed.items()}
    delimiter = max(DELIMITERS, key=lambda d: (shares[d][0] > 1, *reversed(shares[d])))
    rows, (fields, _) = parsed[delimiter], shares[delimiter]
    line, names = rows[0]
    if len(names) < fields:
        first, values = next((number, row) for number, row in rows if len(row) == fields)
        observed = f"line {line} has {len(names)} field(s), and most lines have {fields}, delimited by {delimiter!r}"
        shown = delimiter.join(values)[:_SHOWN_CHARACTERS]
        remedy = _without(line) if first > line + 1 or len(names) == 1 else "add the missing name to the header"
        _refuse(delivery, observed, f"a header with a name for each; line {first} has {fields} ({shown})", remedy)
    if len(rows) > 1 and not any(len(row) == len(names) for _, row in rows[1:]):
        observed = f"the header in line {line} has {len(names)} names, and no line below has as many fields"
        _refuse(
            delivery, observed, "as many names as fields", "correct the header, and land the file under another name"
        )
    if all(_VALUE.fullmatch(name.strip()) for name in names if name.strip()) and any(names):
        shown = delimiter.join(names)[:_SHOWN_CHARACTERS]
        _refuse(delivery, f"line {line} holds values and no names: {shown}", "a header in line 1", "add a header")
    return tuple(names), delimiter


def _without(line: int) -> str:
    return f"remove what stands above the header (line {line}), and land the file under another name"


def _rows(delivery: Delivery, text: str, delimiter: str) -> list[tuple[int, Sequence[str]]]:
    """The first rows that are not blank, with the number of the line that each ends with."""
    csv.field_size_limit(BLOCK_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, Sequence[str]]] = []
    try:
        rows.extend((reader.line_num, row) for row in islice(reader, HEAD_ROWS) if row)
    except csv.Error as error:
        if not rows:
            _refuse(delivery, f"line {reader.line_num} is no line of CSV: {error}", "a header")
    return rows


def _common(rows: Sequence[tuple[int, Sequence[str]]]) -> tuple[int, float]:
    """The most frequent number of fields, and the share of the rows that have it."""
    counts = Counter(len(row) for _, row in rows)
    fields, times = max(counts.items(), key=lambda item: (item[1], item[0]))
    return fields, times / len(rows)
