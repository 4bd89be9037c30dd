"""The checks of `goldpath doctor`: each yields what it observed on this machine, and what to do about a problem."""

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
from importlib import metadata
from pathlib import Path
from typing import Literal

from pipelines import clock
from pipelines.commands.invocation import plain_table
from pipelines.errors import GoldpathError
from pipelines.machine import closed_port, ports
from pipelines.settings import PROJECT, Settings

GIB = 2**30
NEEDED_DISK_GIB = 5
NEEDED_MEMORY_GIB = 6
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: `fail`: the demo cannot run. `warn`: something that the demo does not need is missing.
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: What was checked: `Java`, `disk`, `port 3000`.
        status: Whether it is as needed.
        observed: What the check observed.
        advice: What to do about a problem; empty if there is none.
    """

    name: str
    status: Status
    observed: str
    advice: str = ""


def check(settings: Settings) -> list[CheckResult]:
    """Runs every check; a problem is a result, never an exception."""
    return [result for checks in CHECKS for result in checks(settings)]


def healthy(results: list[CheckResult]) -> bool:
    """Whether the demo can run."""
    return all(result.status != "fail" for result in results)


def show(results: list[CheckResult]) -> None:
    """Prints the results as a table."""
    from rich.text import Text

    from pipelines.machine.terminal import Terminal

    styles = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = plain_table("", "what", "observed", "what to do")
    for result in results:
        table.add_row(Text(result.status, style=styles[result.status]), result.name, result.observed, result.advice)
    Terminal().print(table)


def _python(_: Settings) -> Iterator[CheckResult]:
    version = platform.python_version()
    supported = (3, 11) <= sys.version_info[:2] < (3, 13)
    observed = f"{version} at {sys.executable}"
    if supported:
        yield CheckResult("Python", "ok", observed)
    else:
        yield CheckResult("Python", "fail", observed, "install Python 3.11 or 3.12")
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        yield CheckResult(
            "bytecode",
            "warn",
            "PYTHONDONTWRITEBYTECODE is set: every process compiles every module again",
            "unset it: Ray and Feast start two to three times faster",
        )


def _packages(_: Settings) -> Iterator[CheckResult]:
    lock = PROJECT / "requirements.lock"
    if not lock.exists():
        yield CheckResult("packages", "warn", f"not compared: {lock} is not there", "restore it from the repository")
        return
    differences = lock_differences(lock)
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        observed = f"not as in requirements.lock: {', '.join(differences[:3])}{more}"
        yield CheckResult("packages", "fail", observed, "run: make setup")
    else:
        yield CheckResult("packages", "ok", "as in requirements.lock")


def lock_differences(lock: Path) -> list[str]:
    """The packages whose installed version is not the locked one, as `name 1.0 (locked 2.0)`."""
    from packaging.requirements import Requirement

    differences = []
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
            differences.append(f"{requirement.name} {installed} (locked {locked})")
    return differences


def _java(settings: Settings) -> Iterator[CheckResult]:
    from pipelines.engine.jars import ensure_jars
    from pipelines.engine.java import find_java

    if_missing: Status = "fail" if settings.engine == "spark" and not settings.spark_remote else "warn"
    try:
        java = find_java()
        yield CheckResult("Java", "ok", f"Java {java.version} at {java.binary} (for the spark engine)")
    except GoldpathError as error:
        yield CheckResult("Java", if_missing, error.observed, error.next_step)
    try:
        jars = ensure_jars(settings.root, jars_dir=settings.jars_dir)
        yield CheckResult("Delta JARs", "ok", f"{len(jars)} intact in {jars[0].parent} (for the spark engine)")
    except GoldpathError as error:
        yield CheckResult("Delta JARs", if_missing, error.observed, error.next_step)


def _engine_port(settings: Settings) -> Iterator[CheckResult]:
    others = ", ".join(closed_port.other_accounts())
    if closed_port.can_close():
        yield CheckResult("engine port", "ok", "closed to other processes once a run has connected to the engine")
    elif not others:
        yield CheckResult("engine port", "ok", "this kernel cannot close it, and no other account can log in here")
    else:
        observed = f"this kernel cannot close it to {others}, who could use the embedded engine as you while it runs"
        advice = "use a container or a machine of your own; see GOLDPATH_ENGINE_PORT"
        yield CheckResult("engine port", "warn" if settings.engine_port == "allow" else "fail", observed, advice)


def _browser(_: Settings) -> Iterator[CheckResult]:
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if browser and driver:
        yield CheckResult("Chromium", "ok", f"{browser}, {driver} (for the browser tests)")
    else:
        missing = " and ".join(name for name, path in (("chromium", browser), ("chromedriver", driver)) if not path)
        advice = "for the browser tests only: apt-get install chromium chromium-driver"
        yield CheckResult("Chromium", "warn", f"no {missing}", advice)


def _servers(settings: Settings) -> Iterator[CheckResult]:
    from pipelines.commands import dev_servers
    from pipelines.machine import ray_head

    address = settings.ray_address or ray_head.running(settings)
    yield CheckResult("Ray", "ok", f"running at {address}" if address else "not running; started when needed")
    serving = _accepts_requests(settings.serving_port)
    yield CheckResult("serving", "ok", f"answers on port {settings.serving_port}" if serving else "not running")
    needed_ports = {
        "Dagster": dev_servers.DAGSTER_PORT,
        "MLflow": dev_servers.MLFLOW_PORT,
        "Feast": dev_servers.FEAST_PORT,
    }
    if not address:
        needed_ports["serving"] = settings.serving_port
    for name, port in needed_ports.items():
        if ports.is_free(port):
            yield CheckResult(f"port {port}", "ok", f"free for {name}")
        else:
            observed = f"{ports.holder(port) or 'another program'} listens on it"
            advice = f"nothing if that is {name}; else choose another port, see goldpath dev --help"
            yield CheckResult(f"port {port}", "warn", observed, advice)


def _accepts_requests(port: int) -> bool:
    """Whether a server answers HTTP requests on the loopback port, with whatever status."""
    import httpx

    with contextlib.suppress(httpx.HTTPError):
        return bool(httpx.get(f"http://{ports.LOOPBACK}:{port}/", timeout=2).status_code)
    return False


def _disk(settings: Settings) -> Iterator[CheckResult]:
    folder = _existing_folder(settings.root)
    free = shutil.disk_usage(folder).free / GIB
    observed = f"{free:.1f} GiB free at {folder}"
    if free >= NEEDED_DISK_GIB:
        yield CheckResult("disk", "ok", observed)
    else:
        advice = f"free {NEEDED_DISK_GIB} GiB, or set GOLDPATH_HOME to a folder on another disk"
        yield CheckResult("disk", "fail", observed, advice)


def _existing_folder(path: Path) -> Path:
    """The path if it exists, else the nearest folder above it that does."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _memory(_: Settings) -> Iterator[CheckResult]:
    import psutil

    available = psutil.virtual_memory().available / GIB
    observed = f"{available:.1f} GiB available, {os.cpu_count()} CPUs"
    if available >= NEEDED_MEMORY_GIB:
        yield CheckResult("memory", "ok", observed)
    else:
        advice = f"close other programs: with less than {NEEDED_MEMORY_GIB} GiB the demo uses swap"
        yield CheckResult("memory", "warn", observed, advice)


def _gpu(_: Settings) -> Iterator[CheckResult]:
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
        yield CheckResult("GPU", "warn", f"{names[0]}, but torch {build} has no CUDA runtime", "run: make setup")
    else:
        yield CheckResult("GPU", "ok", "; ".join(names) if names else "none; training and serving use the CPU")


def _name(distribution: metadata.Distribution) -> str:
    return str(distribution.metadata["Name"] or "").lower()


def _home(settings: Settings) -> Iterator[CheckResult]:
    root = settings.home.resolve()
    reached = "" if settings.root == root else f", reached as {settings.root}"
    folder = _existing_folder(root)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield CheckResult("home", "fail", f"{root}: {error.strerror}", "make it writable, or set GOLDPATH_HOME")
    else:
        yield CheckResult("home", "ok", f"{root}{reached}" if folder == root else f"{root}, created on first use")


def _clock(settings: Settings) -> Iterator[CheckResult]:
    try:
        now = clock.now(settings)
    except GoldpathError as error:
        yield CheckResult("clock", "fail", f"{error.object} is {error.observed}", error.next_step)
        return
    replay = clock.replay(settings)
    yield CheckResult("clock", "warn" if replay else "ok", replay or f"the wall clock, {now:%F %H:%M} UTC")


def _logs(settings: Settings) -> Iterator[CheckResult]:
    from pipelines.lineage.events import LineageLog
    from pipelines.provenance.skipped_lines import skipped_lines

    skipped = skipped_lines(settings)
    if skipped:
        advice = "nothing, if a process was killed there; else restore the file from a backup"
        yield CheckResult("logs", "warn", f"skipped, since they are no records: {'; '.join(skipped)}", advice)
    else:
        yield CheckResult("logs", "ok", "every line of the lineage and prediction logs is a record")
    if outbox := LineageLog(settings).outbox:
        waiting, refused = outbox.backlog(), outbox.refused()
        observed = f"{waiting} events wait to be sent, {refused} were refused for good"
        advice = "check GOLDPATH_LINEAGE_URL and its server; the next run sends what waits" if waiting else ""
        yield CheckResult("lineage endpoint", "warn" if waiting or refused else "ok", observed, advice)


def _domains(_: Settings) -> Iterator[CheckResult]:
    from pipelines.definitions import broken_domains, domains

    for name, error in broken_domains().items():
        yield CheckResult(f"domain {name}", "fail", f"does not load: {error.object}: {error.observed}", error.next_step)
    if not broken_domains():
        yield CheckResult("domains", "ok", f"all load: {', '.join(sorted(domains()))}")


#: All checks, in the order in which they are shown. Each yields one or more results.
CHECKS: tuple[Callable[[Settings], Iterator[CheckResult]], ...] = (
    _python, _packages, _home, _disk, _memory, _java, _engine_port, _browser, _gpu, _clock, _logs, _domains, _servers,
)  # fmt: skip
