"""Environment variables that hold only while a library or a child process that reads them starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def during(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Sets variables (None: unsets) and puts back what was there. Other threads see them meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    _apply(variables)
    try:
        yield
    finally:
        _apply(before)


def _apply(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
