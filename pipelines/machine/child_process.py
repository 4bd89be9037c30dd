"""A server that runs as a child process in its own session, and is stopped together with every process it started.

Some servers (Ray, Dagster) start processes that leave their process group but not their session. The session number
stays in use until the last of them has ended, so it identifies exactly the processes to stop; no other is signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

#: How long the server itself may take to end, and then the rest of its session, before what is left is killed.
STOP_SECONDS = 15.0
SESSION_SECONDS = 2.0
KILL_SECONDS = 10.0


@dataclass(slots=True)
class ChildProcess:
    """One server; the file `log` holds its output."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> ChildProcess:
        """Starts the command and writes its standard output and error to `log`, whose earlier content is lost."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code of the server; None while it runs."""
        return self.process.poll()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def members(self) -> list[psutil.Process]:
        """Every living process of its session, including those whose parent has ended."""
        import psutil

        living = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    living.append(process)
        return living

    def stop(self, *, stop_signal: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> None:
        """Sends a signal to the server, waits for it to end, and then kills what is left of its session.

        Args:
            stop_signal: The signal on which the server ends in good order.
            seconds: How long to wait for that.
        """
        import psutil

        if self.exit_code is None:
            self.process.send_signal(stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        deadline = time.monotonic() + SESSION_SECONDS
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.1)
        while (remaining := self.members()) and time.monotonic() < deadline + KILL_SECONDS:
            for process in remaining:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)
        self.process.wait()
