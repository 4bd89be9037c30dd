"""What the readers of a contract share: errors that name the place in the file, and checks of a value's form."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        ContractError: if a name is not among the known ones, or stands twice.
    """
    values: dict[str, Any] = {}
    for position, entry in enumerate(node.get("customProperties") or []):
        name = entry["property"]
        if name not in known:
            refuse(path, [*at, position, "property"], name, f"one of {', '.join(known)}")
        if name in values:
            refuse(path, [*at, position, "property"], name, "each property once")
        values[name] = entry["value"]
    return values


def mapping(path: Path, value: Any, at: Place, allowed: Collection[str] | None = None) -> dict[str, Any]:
    """The value, which has to be a mapping, of the allowed keys if they are given; empty where there is none."""
    if value is not None and not isinstance(value, dict):
        refuse(path, at, value, "names with values")
    for key in value or {}:
        if allowed is not None and key not in allowed:
            refuse(path, [*at, key], value[key], f"only {', '.join(allowed)}")
    return value or {}


def texts(path: Path, value: Any, at: Place) -> tuple[str, ...]:
    """The value, which has to be a list of texts; empty where there is none."""
    if value is not None and not isinstance(value, list):
        refuse(path, at, value, "a list of texts")
    return tuple(text(path, entry, [*at, position], "a text, in quotes") for position, entry in enumerate(value or ()))


def text(path: Path, value: Any, at: Place, expected: str) -> str:
    """The value, which has to be a text."""
    if not isinstance(value, str):
        refuse(path, at, value, expected)
    return value


def number(path: Path, value: Any, at: Place, *, minimum: float | None = None, maximum: float = 1e300) -> float:
    """The value, which has to be a number, is never NaN or infinite, and lies within the limits."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    low = -maximum if minimum is None else minimum
    if not is_number or not low <= value <= maximum:  # NaN is in no range
        refuse(path, at, value, "a number" if minimum is None else f"a number from {minimum} to {maximum:g}")
    return value


def one_of(path: Path, value: Any, at: Place, allowed: Any, default: Any) -> Any:
    """The value, which has to be one of the Literal type `allowed`; the default where there is none."""
    if value is not None and (not isinstance(value, str) or value not in get_args(allowed)):
        refuse(path, at, value, f"one of {', '.join(get_args(allowed))}")
    return default if value is None else value


def severity(path: Path, value: Any, at: Place) -> Severity:
    """The severity of a rule: `error` where the file does not say."""
    return one_of(path, value, at, Severity, "error")


def require_pattern(path: Path, pattern: Any, at: Place) -> None:
    """Raises ContractError unless the pattern is a regular expression of both engines."""
    expected = patterns.expected_instead(text(path, pattern, at, "a regular expression, in quotes"))
    if expected:
        refuse(path, at, pattern, expected)
