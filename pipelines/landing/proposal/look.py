"""What the deliveries of a source show: how they are written, and the texts of their columns.

The files are read as bronze reads them, the newest first, up to a number of values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.contracts.model import Column, Contract
from pipelines.errors import LandingError, NotFoundError, TransientError
from pipelines.landing.delivery import Delivery
from pipelines.landing.file_names import is_temporary, pattern
from pipelines.landing.formats.base import DeliveredFile, Piece, file_format
from pipelines.landing.formats.sniffing import Sniffed, sniff
from pipelines.landing.proposal.texts import ColumnTexts, snake_case
from pipelines.landing.zone import Landing
from pipelines.tables import TableId

#: At most so many values are looked at: a quarter of a million rows of 20 columns.
MOST_VALUES = 5_000_000
#: Of the files that are written in another way, so many are named.
NAMED_FILES = 5
NAMED_SOURCES = 20
SHOWN_CHARACTERS = 80
_KEY = re.compile("((.*_)?(id|key|uuid|guid|pk|no|nr|number|code|sku|ean|isbn)|id_.*)")
_PLAIN_KEYS = ("id", "key", "uuid", "guid")
#: The share of its texts that have to differ in a column that is named after the source, for it to be the key.
KEY_SHARE = 0.75


@dataclass(slots=True)
class Look:
    """What was seen of a source.

    Attributes:
        domain: The data domain.
        source: The source.
        sniffed: How its newest readable delivery is written.
        columns: Its columns in the order of that delivery, then those of older ones.
        rows: How many rows were looked at.
        malformed: How many of them are no rows of their file.
        files: How many files were looked at.
        landed: How many have landed.
        pattern: What the names of these are alike in, as a pattern.
        complete: Whether all rows of all these files were looked at.
        notes: What a person should know, a line each.
        repeats: For each column that is named like a key, the number of texts that a file holds more than once.
    """

    domain: str
    source: str
    sniffed: Sniffed
    columns: dict[str, ColumnTexts]
    rows: int = 0
    malformed: int = 0
    files: int = 0
    landed: int = 0
    pattern: str = "*"
    complete: bool = True
    notes: list[str] = field(default_factory=list)
    repeats: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str | None:
        """The column that seems to identify a row: named like a key, without nulls, never floating-point.

        Its values differ, except that those of a column named after the source may return: rows are updated.
        """
        own = (*_PLAIN_KEYS, *(f"{name}_id" for name in (snake_case(self.source), snake_case(self.source).rstrip("s"))))
        complete = [
            name for name, texts in self.columns.items()
            if name in self.repeats and self.rows and not texts.nulls and not texts.kinds["missing"]
            and texts.type not in ("double", "float", "boolean")
        ]  # fmt: skip
        best = sorted(complete, key=lambda name: snake_case(name) not in own)
        for name in best:
            may_return = snake_case(name) in own
            if self.repeats[name] <= (self.rows * (1 - KEY_SHARE) if may_return else 0):
                return name
        return None

    def summary(self) -> list[str]:
        """What was looked at, and what a person should know, a line each."""
        rows = f"{self.rows:,} rows in {self.files:,} of {self.landed:,} files"
        lines = [f"looked at {'all' if self.complete else 'the newest'} {rows}"]
        if not self.complete:
            lines.append("no more was looked at: values of other rows that have not the type go to quarantine")
        if not self.rows:
            lines.append("there is no row to find types by: every column that the file gives no type is text")
        lines += self.notes
        key = self.key
        if key is None:
            lines.append("no column is named like a key, complete and different in each row: declare the primaryKey")
        elif self.repeats[key]:
            lines.append(f"{key} returns in {self.repeats[key]:,} rows: of the rows with one {key} the newest stays")
        if self.sniffed.encoding not in ("utf-8", "utf-16"):
            lines.append(f"the text is read as {self.sniffed.encoding}: look whether its words are right")
        return lines


def look(landing: Landing, domain: str, source: str) -> Look:
    """What the deliveries of a source show.

    Raises:
        NotFoundError: if nothing has landed.
        LandingError: if no delivery can be read; it is about the newest.
    """
    landed = landing.deliveries(domain, source)[::-1]
    deliveries = [delivery for delivery in landed if not is_temporary(delivery.uri)]
    if not deliveries:
        raise _nothing_landed(landing, domain, source)
    names = [delivery.uri.rpartition("/")[2] for delivery in deliveries]
    seen: Look | None = None
    errors: list[LandingError] = []
    others: list[str] = []
    for delivery in deliveries:
        try:
            sniffed = sniff(landing, delivery)
            seen = seen or Look(domain, source, sniffed, {}, landed=len(deliveries), pattern=pattern(names))
            if _written(sniffed) == _written(seen.sniffed):
                _add_file(landing, seen, delivery, sniffed)
            else:
                others.append(f"{delivery.uri} is {_words(sniffed)}; the newest is {_words(seen.sniffed)}")
        except LandingError as error:
            errors.append(error)
        if seen and not seen.complete:
            break
    if seen is None or not seen.files:
        raise errors[0]
    others += [f"{error.object} cannot be read: {error.observed}" for error in errors]
    seen.notes += others[:NAMED_FILES]
    seen.notes += [f"{len(others) - NAMED_FILES} more files are not like the newest"] if others[NAMED_FILES:] else []
    seen.notes += [note for texts in seen.columns.values() if (note := texts.note)]
    return seen


def _written(sniffed: Sniffed) -> tuple[str, str, str]:
    return sniffed.format, sniffed.delimiter, sniffed.encoding


def _words(sniffed: Sniffed) -> str:
    delimiter = f" delimited by {sniffed.delimiter!r}" if sniffed.format == "csv" else ""
    return f"{sniffed.format}{delimiter}{'' if sniffed.format == 'parquet' else f' in {sniffed.encoding}'}"


def _nothing_landed(landing: Landing, domain: str, source: str) -> NotFoundError:
    landed = [f"{d}/{s}" for d in landing.domains() for s in landing.sources(d)]
    return NotFoundError(
        object=f"deliveries of {domain}/{source}",
        observed=f"no file below {landing.root}/{domain}/{source}/dt=INTERVAL/",
        expected=f"a source that has landed: {', '.join(landed[:NAMED_SOURCES]) or 'there is none yet'}",
        next_step=f"land a file as {domain}/{source}/dt=INTERVAL/NAME, or correct the name",
    )


def _add_file(landing: Landing, seen: Look, delivery: Delivery, sniffed: Sniffed) -> None:
    """Adds the texts of a file, read as bronze reads it, until enough values were looked at."""
    older = [name for name in sniffed.names if name not in seen.columns] if seen.files else []
    if older:
        seen.notes.append(f"{', '.join(older)}: not in the newest file, but in {delivery.uri}")

    def header(names: Sequence[str]) -> None:
        for name in names:
            own_type = _own_type(sniffed, name)
            texts = seen.columns.setdefault(name, ColumnTexts(name, own_type, nulls=seen.rows))
            if texts.own_type != own_type:
                texts.own_type = "string"

    distinct: dict[str, set[int]] = {}
    for piece in _pieces(landing, seen, delivery, sniffed, header):
        _add_piece(seen, delivery, piece, distinct)
        if seen.rows * len(seen.columns) >= MOST_VALUES:
            seen.complete = False
            break
    seen.files += 1


def _own_type(sniffed: Sniffed, name: str) -> str | None:
    return (sniffed.own_types[name] or "string") if name in sniffed.own_types else None


def _pieces(
    landing: Landing, seen: Look, delivery: Delivery, sniffed: Sniffed, header: Callable[[Sequence[str]], None]
) -> Iterator[Piece]:
    """The rows of a file, read as bronze reads it by a contract of its columns.

    Raises:
        LandingError: if it cannot be read, whatever goes wrong.
        TransientError: if the store did not answer.
    """
    contract = Contract(
        table=TableId("bronze", seen.domain, seen.source),
        path=Path(f"bronze_{seen.source}.yaml"),
        version="",
        purpose="",
        grain="",
        owner="",
        columns=tuple(Column(name, "string", "", source=name) for name in sniffed.names),
        row_rules=(),
        table_rules=(),
        tags={},
        freshness_seconds=0,
        retention_seconds=0,
        drift={"tables": "evolve", "columns": "evolve", "data_type": "evolve"},
        format=sniffed.format,
        delimiter=sniffed.delimiter,
        encoding=sniffed.encoding,
    )
    header(sniffed.names)
    try:
        yield from file_format(sniffed.format).read(DeliveredFile(landing, delivery, contract, header))
    except (LandingError, TransientError, MemoryError):
        raise
    except Exception as error:
        raise LandingError(
            object=f"delivery {delivery.uri}",
            observed=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            expected=f"a whole file: {_words(sniffed)}",
            next_step="move the file out of landing and ask for it again",
        ) from error


def _add_piece(seen: Look, delivery: Delivery, piece: Piece, distinct: dict[str, set[int]]) -> None:
    rows = len(piece.rows) - len(piece.malformed)
    seen.rows += rows
    if piece.malformed and not seen.malformed:
        place = piece.rows[min(piece.malformed)].as_py()
        shown = piece.malformed[min(piece.malformed)][:SHOWN_CHARACTERS]
        seen.notes.append(f"{delivery.uri} row {place} is malformed, and goes to quarantine: {shown}")
    seen.malformed += len(piece.malformed)
    for name, texts in seen.columns.items():
        values = piece.columns.get(name)
        if values is None:
            texts.nulls += rows
            continue
        texts.nulls += values.null_count - len(piece.malformed)
        counts = values.value_counts()
        for text, times in zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True):
            if text is not None:
                had = texts.odd
                texts.add(text, times, delivery.uri)
                if texts.odd is not had:
                    texts.odd = (text, f"{delivery.uri} row {piece.rows[values.index(text).as_py()].as_py()}")
        if _KEY.fullmatch(snake_case(name)):
            known = distinct.setdefault(name, set())
            before = len(known)
            known.update(map(hash, values.drop_null().to_pylist()))
            repeated = len(values) - values.null_count - (len(known) - before)
            seen.repeats[name] = seen.repeats.get(name, 0) + repeated
