"""Environment variables that are set only while the library or child process that reads them starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def during(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Sets the variables (None unsets one) and restores their former values after the block.

    They are set for the whole process: other threads see them too while the block runs.
    """
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
