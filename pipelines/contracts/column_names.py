"""Which names columns may have: those that both engines, Delta and the platform's own columns leave free."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pipelines.contracts.model import Column
from pipelines.contracts.nodes import Place, refuse
from pipelines.tables import reserved


def fault(name: str) -> str | None:
    """Why no column can have the name, in words; None if one can."""
    if not name.strip():
        return "an empty name"
    if name == "*" or any(character in ".`" or not character.isprintable() for character in name):
        return "a name with a dot, a backtick or a control character, or the star"
    if reserved(name):
        return "a name that the platform uses for a column of its own"
    return None


def named(names: Iterable[str]) -> dict[str, str]:
    """A name that a column may have for each name of a delivered file: the same one, if it can be.

    Args:
        names: The distinct names of a file, such as `Zone`, `zone`, `a.b`, `_row` and the empty one.

    Returns:
        Their columns, in this order: `Zone`, `zone_2`, `a_b`, `row` and `column`.
    """
    names = list(names)
    taken: dict[str, str] = {}
    for name in names:
        if not fault(name):
            taken.setdefault(name.lower(), name)
    columns = {name: name for name in taken.values()}
    for name in (name for name in names if name not in columns):
        plain = name
        if fault(name):
            plain = "".join(c if c.isprintable() and c not in ".`*" else "_" for c in name).strip(" _") or "column"
            plain = re.sub("__+", "_", plain)  # as in the ending of the columns that keep what a type cannot hold
        number, column = 1, plain
        while column.lower() in taken:
            number += 1
            column = f"{plain}_{number}"
        columns[name] = taken[column.lower()] = column
    return {name: columns[name] for name in names}


def require_names(path: Path, columns: Iterable[Column], at: Place) -> None:
    """Raises ContractError for a column whose name no column can have, or that differs from another by case alone.

    Args:
        path: The contract file.
        columns: The columns, in the order of the file.
        at: The place of their list.
    """
    first: dict[str, str] = {}
    for position, column in enumerate(columns):
        name, place = column.name, [*at, position, "name"]
        wrong = fault(name)
        if wrong:
            step = f"{named([name])[name]!r}, and transformSourceObjects: [{name!r}] to read it from that column"
            refuse(path, place, name, f"another name than {wrong}, such as {step}")
        if name.lower() in first:
            other = first[name.lower()]
            step = f"one as '{name}_2', with transformSourceObjects: [{name!r}]"
            expected = (
                "each name once" if other == name else f"names that differ by more than case from {other!r}: {step}"
            )
            refuse(path, place, name, expected)
        first[name.lower()] = name
