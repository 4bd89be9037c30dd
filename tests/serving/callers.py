"""Callers of a deployed service, who count what they get."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil

from pipelines.settings import Settings
from serving.predict import client
from tests.serving.conftest import QUESTION, SERVICE

CALLERS = 6


@dataclass(frozen=True, slots=True)
class Got:
    """One response: when it came, seconds since 1970, its status, and version and arm that it names."""

    at: float
    status: int
    version: int | None
    arm: str


class Callers:
    """Ask without a pause, from several threads, until the block ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self.got: list[Got] = []

    def __enter__(self) -> Callers:
        self._asking = [self._pool.submit(self._ask) for _ in range(CALLERS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for each in self._asking:
            each.result()

    @property
    def seen(self) -> Counter[tuple[int, str]]:
        """How many responses there were by now, by status and arm."""
        return Counter((each.status, each.arm) for each in list(self.got))

    def wait_for(self, arm: str, more: int = 10) -> None:
        """Waits for so many more answers of an arm."""
        enough = self.seen[200, arm] + more
        deadline = time.monotonic() + 60
        while self.seen[200, arm] < enough:
            assert time.monotonic() < deadline, f"no more answers of {arm}: {self.seen}"
            time.sleep(0.05)

    def _ask(self) -> None:
        with client.connection(self._settings, SERVICE) as caller:
            while not self._done.is_set():
                response = caller.post("/v1/predict", json=QUESTION)
                model: dict[str, Any] = response.json().get("model", {})
                self.got.append(Got(time.time(), response.status_code, model.get("version"), model.get("arm", "")))


def replica(application: str) -> psutil.Process:
    """The process of an application's replica on the cluster that this process started, once there is one.

    Ray writes what a process does into its title, which is empty while it is written.
    """
    title, deadline = f"ray::ServeReplica:{application}:", time.monotonic() + 30
    while True:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if (process.cmdline() or [""])[0].startswith(title):
                    return process
        assert time.monotonic() < deadline, f"no replica of {application} runs"
        time.sleep(0.1)
