"""Real servers for tests: child processes on free loopback ports, with their data in a folder of the test.

`make servers` installs their programs: Kafka's JARs and versitygw into .tools, Redis and PostgreSQL from Debian.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import EngineError
from pipelines.machine.child_process import ChildProcess
from pipelines.machine.ports import wait_open

TOOLS = Path(__file__).parents[2] / ".tools"
START_SECONDS = 90


def missing(program: str, path: str) -> EngineError:
    """The error of a test that needs a program which is not installed; `path` is where it was looked for."""
    return EngineError(
        object=f"{program} for tests",
        observed=f"no {path}",
        expected="an installed program",
        next_step="run: make servers",
    )


def listening(child: ChildProcess, port: int) -> ChildProcess:
    """Waits until the child accepts connections and returns it.

    Raises:
        EngineError: if it does not within START_SECONDS; the child is stopped, and its last output is in the error.
    """
    if not wait_open(port, seconds=START_SECONDS):
        child.stop()
        raise EngineError(
            object=f"{child.name} for tests",
            observed=child.log_tail() or f"no process listens on port {port}",
            expected=f"a server on port {port} within {START_SECONDS} s",
            next_step="read the log above",
        )
    return child
