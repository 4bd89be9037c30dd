"""Real servers for tests, each a child process on a free loopback port, with its data in a folder that the test gives.

`make servers` brings their programs: Kafka's JARs and versitygw into .tools, Redis and PostgreSQL from Debian.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import EngineError
from pipelines.machine.child_process import ChildProcess
from pipelines.machine.ports import wait_open

TOOLS = Path(__file__).parents[2] / ".tools"
START_SECONDS = 90


def missing(program: str, looked_at: str) -> EngineError:
    """The error of a test that needs a program which is not on this machine."""
    return EngineError(
        object=f"{program} for tests",
        observed=f"no {looked_at}",
        expected="it on this machine",
        next_step="make servers",
    )


def listening(child: ChildProcess, port: int) -> ChildProcess:
    """The child once it accepts connections; raises EngineError with its last words if it does not."""
    if not wait_open(port, seconds=START_SECONDS):
        child.stop()
        raise EngineError(
            object=f"{child.name} for tests",
            observed=child.log_tail() or f"nothing listens on port {port}",
            expected=f"a server on port {port} within {START_SECONDS} s",
            next_step="read the log above",
        )
    return child
