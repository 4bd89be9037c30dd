"""Loads Feast in one second instead of six.

Feast puts type guards on its classes, which are compiled anew in every process (three seconds), and imports torch for
answers as tensors (one and a half), which nothing here asks for. What Feast is given is checked where it is declared.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

_TORCH = "feast.torch_wrapper"


def load_feast() -> None:
    """Imports Feast, if that is still to be done; call it before the first import of one of its modules."""
    if "feast" in sys.modules:
        return
    import typeguard

    guards: Any = typeguard
    guarded = guards.typechecked
    guards.typechecked = _unguarded
    sys.modules[_TORCH] = _torch_when_asked()
    try:
        import feast  # noqa: F401
    except BaseException:
        del sys.modules[_TORCH]
        raise
    finally:
        guards.typechecked = guarded


def _unguarded(target: Any = None, **_: Any) -> Any:
    """Stands for `typeguard.typechecked`, with and without options."""
    return target if target is not None else lambda decorated: decorated


def _torch_when_asked() -> ModuleType:
    """Stands for Feast's module of this name: torch is imported by the first answer that is a tensor."""
    module: Any = ModuleType(_TORCH)

    def get_torch() -> ModuleType:
        import torch

        return torch

    module.get_torch = get_torch
    return module
