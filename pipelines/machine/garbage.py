"""How often Python searches for objects that only refer to each other, which it does beside counting references.

The modules of a run are some 400,000 objects that all stay. By default Python searches among them every few thousand
new objects, and at exit: 1.5 of the 5 s of a run of one day.
"""

from __future__ import annotations

import atexit
import gc
import sys

#: How many more objects there are, each time, when the youngest are searched; Python's default is 700.
NEW_OBJECTS = 300_000


def collect_seldom() -> None:
    """Searches this process seldom, and not at its exit, where the process gives back all its memory anyway.

    So `__del__` of what is in a cycle at the exit is not called; what has to happen then is registered with `atexit`.
    """
    gc.set_threshold(NEW_OBJECTS)
    atexit.unregister(_keep_all)
    atexit.register(_keep_all)


def _keep_all() -> None:
    """Keeps the exit from searching, unless Triton is loaded: it prints hundreds of lines about what was not freed."""
    if "triton" not in sys.modules:
        gc.freeze()
