"""How the columns of a delivery differ from those of its contract, and what the contract's drift mode does about it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.landing.delivery import Delivery
from pipelines.landing.formats.base import file_format

#: How similar a missing and an added name must be to look like one renamed column, from 0 to 1, by difflib's measure.
SIMILARITY = 0.6


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """A difference in column names.

    Attributes:
        added: Names that the contract does not know.
        missing: Names of the contract that the file does not have. A format that may leave names out has none.
        renamed: Pairs of a missing and an added name that look like one column: they differ in case, in blanks or in
            few letters.
        reordered: Whether the columns that both have are in another order. Values are found by name all the same.
    """

    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    reordered: bool = False

    @classmethod
    def between(cls, contract: Contract, names: Sequence[str]) -> ColumnDrift:
        """The difference between a contract and a file that has these names."""
        known = [column.name for column in contract.columns]
        complete = file_format(contract.format).NAMES_EVERY_COLUMN
        added = [name for name in names if name not in set(known)]
        missing = [name for name in known if name not in set(names)] if complete else []
        both = [name for name in names if name in set(known)]
        reordered = complete and both != [name for name in known if name in set(names)]
        return cls(tuple(added), tuple(missing), tuple(_renamed(missing, added)), reordered)

    def __bool__(self) -> bool:
        return bool(self.added or self.missing or self.reordered)

    def words(self) -> str:
        """The difference in words."""
        renamed = dict(self.renamed)
        parts = [f"{old} seems to be renamed to {new}" for old, new in self.renamed]
        added = [name for name in self.added if name not in renamed.values()]
        missing = [name for name in self.missing if name not in renamed]
        parts += [f"added: {', '.join(added)}"] if added else []
        parts += [f"missing: {', '.join(missing)}"] if missing else []
        parts += ["columns in another order"] if self.reordered else []
        return "; ".join(parts)

    def treatment(self, contract: Contract) -> str:
        """What the contract's drift mode for columns does about the difference, in words."""
        added = {
            "evolve": "new columns are added to the table as text, or kept in _rescued if their name is not a word or "
            "differs from another by case alone",
            "discard_value": "values of new columns are kept in _rescued",
            "discard_row": "rows with new columns go to quarantine",
            "freeze": "the file is refused",
        }[contract.drift["columns"]]
        parts = [added] if self.added else []
        parts += ["missing ones are null"] if self.missing else []
        return "; ".join(parts) or "values are found by name"

    def refuse_frozen(self, contract: Contract, delivery: Delivery) -> None:
        """Raises LandingError if the contract freezes its columns and a name is new or missing."""
        if contract.drift["columns"] == "freeze" and (self.added or self.missing):
            unknown = f"column(s) {', '.join(sorted(self.added))}, which {contract.path.name} does not know"
            raise LandingError(
                object=f"delivery {delivery.uri}",
                observed=unknown if self.added and not self.missing else self.words(),
                expected="only the contract's columns, and all of them, since it freezes them (drift.columns)",
                next_step="add the column to the contract, or set drift.columns to discard_value",
                code="frozen_columns",
            )


def _renamed(missing: Sequence[str], added: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a missing and an added name that look like one column; each name is in one pair at most."""
    pairs, free = [], list(added)
    for old in missing:
        plain = {name: name.strip().lower().replace("_", "").replace(" ", "") for name in (old, *free)}
        likely = [name for name in free if plain[name] == plain[old]]
        likely = likely or difflib.get_close_matches(old.lower(), [name.lower() for name in free], 1, SIMILARITY)
        match = next((name for name in free if name in likely or name.lower() in likely), None)
        if match is not None:
            pairs.append((old, match))
            free.remove(match)
    return pairs
