"""The refusal of a part of a model's declaration, such as its gate or its rollout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from pipelines.errors import DefinitionError
from pipelines.models.spec import ModelSpec

#: The beginnings of the SQL types of columns of numbers.
NUMBERS = ("int", "bigint", "double", "float", "decimal")
#: Whether a setting is valid, what it is, and what it should be.
Check: TypeAlias = tuple[bool, str, str]


def require(spec: ModelSpec, part: str, checks: Iterable[Check]) -> None:
    """Raises DefinitionError for the first setting of the model's `part` that is not valid."""
    for valid, observed, expected in checks:
        if not valid:
            raise DefinitionError(
                object=f"model {spec.registered_name}",
                observed=f"its {part} has {observed}",
                expected=expected,
                next_step=f"correct the {part} in the declaration of {spec.name} in assets/{spec.domain.name}",
            )
