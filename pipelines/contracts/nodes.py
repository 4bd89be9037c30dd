"""What the readers of a contract share: errors that name the place in the file, and checks of a value's form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from pipelines.contracts import patterns
from pipelines.contracts.model import Severity
from pipelines.errors import ContractError

#: Place of a node in the file: keys and positions, counted from 0.
Place = Sequence[Any]
_SHOWN_CHARACTERS = 120


def refuse(path: Path, at: Place, value: Any, expected: str) -> NoReturn:
    """Raises the ContractError that names the file, the place in it, the value there and what is allowed."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).lstrip(".") or "top level"
    shown = repr(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[: _SHOWN_CHARACTERS - 3] + "..."
    raise ContractError(
        object=f"contract {path.name}, {place}", observed=shown, expected=expected, next_step=f"correct {path}"
    )


def custom_properties(path: Path, node: dict[str, Any], at: Place, known: Sequence[str]) -> dict[str, Any]:
    """The node's custom properties by name; `at` is the place of their list.

    Raises:
        ContractError: if a name is not among the known ones.
    """
    values = {entry["property"]: entry["value"] for entry in node.get("customProperties") or []}
    for position, name in enumerate(values):
        if name not in known:
            refuse(path, [*at, position, "property"], name, f"one of {', '.join(known)}")
    return values


def mapping(path: Path, value: Any, at: Place) -> dict[str, Any]:
    """The value, which has to be a mapping; empty where there is none."""
    if value is not None and not isinstance(value, dict):
        refuse(path, at, value, "names with values")
    return value or {}


def one_of(path: Path, value: Any, at: Place, allowed: Any, default: Any) -> Any:
    """The value, which has to be one of the Literal type `allowed`; the default where there is none."""
    if value is not None and value not in get_args(allowed):
        refuse(path, at, value, f"one of {', '.join(get_args(allowed))}")
    return default if value is None else value


def severity(path: Path, value: Any, at: Place) -> Severity:
    """The severity of a rule: `error` where the file does not say."""
    return one_of(path, value, at, Severity, "error")


def require_pattern(path: Path, pattern: str, at: Place) -> None:
    """Raises ContractError unless the pattern is a regular expression of both engines."""
    expected = patterns.expected_instead(pattern)
    if expected:
        refuse(path, at, pattern, expected)
