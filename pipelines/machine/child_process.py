"""A server that runs as a child process in a session of its own, and ends with everything it started.

Some servers (Ray, Dagster) start processes that leave their process group. The session keeps its number until the last
of them has ended, so it tells whom this process may end: nobody else is ever signalled.
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

STOP_SECONDS = 15.0
KILL_SECONDS = 10.0


@dataclass(slots=True)
class ChildProcess:
    """One running server; `log` has its output."""

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
        """Starts the command with its output in `log`, which it replaces."""
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
        """None while it runs."""
        return self.process.poll()

    def log_tail(self, lines: int = 15) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def members(self) -> list[psutil.Process]:
        """Every living process of its session, whoever its parent is by now."""
        import psutil

        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def stop(self, *, ask_with: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> None:
        """Asks it to end, waits, and then ends whatever is left of its session."""
        import psutil

        if self.exit_code is None:
            self.process.send_signal(ask_with)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        deadline = time.monotonic() + 2
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.1)
        while (left := self.members()) and time.monotonic() < deadline + KILL_SECONDS:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)
        self.process.wait()
