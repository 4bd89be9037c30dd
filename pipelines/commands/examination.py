"""`goldpath doctor`: what this machine has and lacks, one line for each need, with what to do about it."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pipelines import clock
from pipelines.errors import GoldpathError
from pipelines.machine import ports
from pipelines.settings import PROJECT, Settings

GIB = 2**30
NEEDED_DISK_GIB = 5
NEEDED_MEMORY_GIB = 6
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: `fail`: the demo cannot run. `warn`: something optional is missing.
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question about the machine; `advice` is empty where nothing is to be done."""

    name: str
    status: Status
    observed: str
    advice: str = ""


def examine(settings: Settings) -> list[Answer]:
    """Asks every question; never raises for what it finds."""
    return [answer for question in QUESTIONS for answer in question(settings)]


def healthy(answers: list[Answer]) -> bool:
    """Whether nothing that the demo needs is missing."""
    return all(answer.status != "fail" for answer in answers)


def show(answers: list[Answer]) -> None:
    """Prints the answers as a table."""
    from rich.console import Console
    from rich.table import Table

    marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "what", "observed", "what to do"):
        table.add_column(column, overflow="fold")
    for answer in answers:
        table.add_row(marks[answer.status], answer.name, answer.observed, answer.advice)
    Console().print(table)


def _python(_: Settings) -> Iterator[Answer]:
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Answer(
        "Python", "ok" if fits else "fail", f"{version} at {sys.executable}", "" if fits else "install 3.11 or 3.12"
    )
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        yield Answer(
            "bytecode",
            "warn",
            "PYTHONDONTWRITEBYTECODE is set: every process compiles every module anew",
            "unset it: Ray and Feast start two to three times faster",
        )


def _packages(_: Settings) -> Iterator[Answer]:
    wrong = lock_differences(PROJECT / "requirements.lock")
    if wrong:
        shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        yield Answer("packages", "fail", f"not as in requirements.lock: {shown}", "make setup")
    else:
        yield Answer("packages", "ok", "as in requirements.lock")


def lock_differences(lock: Path) -> list[str]:
    """The packages whose installed version is not the locked one, as `name 1.0 (locked 2.0)`."""
    from packaging.requirements import Requirement

    wrong = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        if not line or line[0] in "# ":
            continue
        requirement = Requirement(line.removesuffix("\\").strip())
        if requirement.marker and not requirement.marker.evaluate():
            continue
        locked = str(requirement.specifier).removeprefix("==")
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            installed = "missing"
        if installed != locked:
            wrong.append(f"{requirement.name} {installed} (locked {locked})")
    return wrong


def _java(settings: Settings) -> Iterator[Answer]:
    from pipelines.engine.jars import ensure_jars
    from pipelines.engine.java import find_java

    lacking: Status = "fail" if settings.engine == "spark" and not settings.spark_remote else "warn"
    try:
        java = find_java()
        yield Answer("Java", "ok", f"Java {java.version} at {java.binary} (for the spark engine)")
    except GoldpathError as error:
        yield Answer("Java", lacking, error.observed, error.next_step)
    try:
        jars = ensure_jars(settings.root, jars_dir=settings.jars_dir)
        yield Answer("Delta JARs", "ok", f"{len(jars)} intact in {jars[0].parent} (for the spark engine)")
    except GoldpathError as error:
        yield Answer("Delta JARs", lacking, error.observed, error.next_step)


def _browser(_: Settings) -> Iterator[Answer]:
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if browser and driver:
        yield Answer("Chromium", "ok", f"{browser}, {driver} (for the browser tests)")
    else:
        missing = " and ".join(name for name, found in (("chromium", browser), ("chromedriver", driver)) if not found)
        yield Answer(
            "Chromium", "warn", f"no {missing}", "apt-get install chromium chromium-driver (browser tests only)"
        )


def _servers(settings: Settings) -> Iterator[Answer]:
    from pipelines.commands import dev_servers
    from pipelines.machine import ray_head

    address = settings.ray_address or ray_head.running(settings)
    yield Answer("Ray", "ok", f"running at {address}" if address else "not running; started when needed")
    serving = _answers(settings.serving_port)
    yield Answer("serving", "ok", f"answers on port {settings.serving_port}" if serving else "not running")
    wanted = {"Dagster": dev_servers.DAGSTER_PORT, "MLflow": dev_servers.MLFLOW_PORT}
    if not address:
        wanted["serving"] = settings.serving_port
    for name, port in wanted.items():
        if ports.is_free(port):
            yield Answer(f"port {port}", "ok", f"free for {name}")
        else:
            who = ports.holder(port) or "another program"
            yield Answer(
                f"port {port}", "warn", f"{who} listens on it", f"fine if that is {name}; else goldpath dev --help"
            )


def _answers(port: int) -> bool:
    import httpx

    with contextlib.suppress(httpx.HTTPError):
        return bool(httpx.get(f"http://{ports.LOOPBACK}:{port}/", timeout=2).status_code)
    return False


def _room(settings: Settings) -> Iterator[Answer]:
    import psutil

    root = settings.root
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    disk = shutil.disk_usage(there).free / GIB
    memory = psutil.virtual_memory().available / GIB
    yield Answer(
        "disk",
        "ok" if disk >= NEEDED_DISK_GIB else "fail",
        f"{disk:.1f} GiB free at {there}",
        "" if disk >= NEEDED_DISK_GIB else f"free {NEEDED_DISK_GIB} GiB, or set GOLDPATH_HOME to another disk",
    )
    yield Answer(
        "memory",
        "ok" if memory >= NEEDED_MEMORY_GIB else "warn",
        f"{memory:.1f} GiB available, {os.cpu_count()} CPUs",
        ""
        if memory >= NEEDED_MEMORY_GIB
        else f"close other programs: {NEEDED_MEMORY_GIB} GiB keep the demo off the swap",
    )


def _gpu(_: Settings) -> Iterator[Answer]:
    tool = shutil.which("nvidia-smi")
    names: list[str] = []
    if tool:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            command = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
            listing = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
            names = listing.stdout.strip().splitlines()
    build = metadata.version("torch")
    cuda = [d.metadata["Name"] for d in metadata.distributions() if re.match(r"nvidia[-_]cuda[-_]runtime", _name(d))]
    if names and not cuda and "+cu" not in build:
        yield Answer("GPU", "warn", f"{names[0]}, but torch {build} brings no CUDA runtime", "make setup")
    else:
        yield Answer("GPU", "ok", "; ".join(names) if names else "none; training and serving use the CPU")


def _name(distribution: metadata.Distribution) -> str:
    return str(distribution.metadata["Name"] or "").lower()


def _home(settings: Settings) -> Iterator[Answer]:
    root = settings.root
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Answer("home", "fail", f"{root}: {error.strerror}", "make it writable, or set GOLDPATH_HOME")
    else:
        yield Answer("home", "ok", f"{root}" if there == root else f"{root}, made on first use")


def _clock(settings: Settings) -> Iterator[Answer]:
    try:
        now = clock.now(settings)
    except GoldpathError as error:
        yield Answer("clock", "fail", f"{error.object} is {error.observed}", error.next_step)
        return
    replays = abs((datetime.now(UTC) - now).total_seconds()) > 5
    yield Answer("clock", "ok", f"a replay stands at {now:%Y-%m-%d %H:%M} UTC" if replays else "the wall clock")


QUESTIONS: tuple[Callable[[Settings], Iterator[Answer]], ...] = (
    _python, _packages, _home, _room, _java, _browser, _gpu, _clock, _servers,
)  # fmt: skip


def as_json(answers: list[Answer]) -> list[dict[str, Any]]:
    """The answers for programs."""
    return [{"name": f.name, "status": f.status, "observed": f.observed, "advice": f.advice} for f in answers]
