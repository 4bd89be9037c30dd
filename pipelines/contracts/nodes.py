"""What every reader of a contract's nodes shares: refusals that name the place, and values of the expected form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from pipelines.contracts.model import Severity
from pipelines.errors import ContractError

#: Path of a node in the file: keys and positions.
Place = Sequence[Any]


def refuse(path: Path, where: Place, value: Any, expected: str) -> NoReturn:
    """Raises the ContractError that names the file, the place in it, the value seen and what is allowed."""
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".") or "top level"
    shown = repr(value) if len(repr(value)) <= 120 else repr(value)[:117] + "..."
    raise ContractError(
        object=f"contract {path.name}, {at}", observed=shown, expected=expected, next_step=f"correct {path}"
    )


def custom_properties(path: Path, node: dict[str, Any], at: Place, known: Sequence[str]) -> dict[str, Any]:
    """The node's custom properties by name; `at` is the place of their list."""
    found = {entry["property"]: entry["value"] for entry in node.get("customProperties") or []}
    for position, name in enumerate(found):
        if name not in known:
            refuse(path, [*at, position, "property"], name, f"one of {', '.join(known)}")
    return found


def mapping(path: Path, value: Any, at: Place) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        refuse(path, at, value, "names with values")
    return value or {}


def word(path: Path, value: Any, at: Place, allowed: Any, default: Any) -> Any:
    """A value of the Literal `allowed`, or the default where there is none."""
    if value is not None and value not in get_args(allowed):
        refuse(path, at, value, f"one of {', '.join(get_args(allowed))}")
    return default if value is None else value


def severity(path: Path, value: Any, at: Place) -> Severity:
    return word(path, value, at, Severity, "error")
