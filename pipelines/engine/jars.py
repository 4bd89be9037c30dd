"""The two Delta Lake JARs of the spark engine: fetched during set-up, checked by digest, never fetched by a run.

They are declared by Maven coordinates alone; the tool that fetches them (Maven, or the Ivy resolver inside pyspark) has
its own configuration of repositories. pyspark already contains all other dependencies of delta-spark.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.engine.java import find_java
from pipelines.errors import EngineError

MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
FETCH_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Jar:
    """One Maven artifact, with the SHA-256 of its bytes in hexadecimal."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinates(self) -> str:
        """The Maven coordinates, `group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def repository_path(self) -> Path:
        """Its path in a Maven repository."""
        return Path(*self.group.split("."), self.artifact, self.version, self.file_name)

    def is_intact(self, path: Path) -> bool:
        """Whether the file at `path` has the declared SHA-256."""
        return hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


DELTA_JARS = (
    Jar(
        "io.delta",
        "delta-spark_4.2_2.13",
        "4.4.0",
        "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead",
    ),
    Jar("io.delta", "delta-storage", "4.4.0", "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc"),
)


def ensure_jars(home: Path, *, jars_dir: Path | None = None) -> list[Path]:
    """The paths of the JARs on this machine, after checking their digests. Uses no network.

    Args:
        home: Goldpath's home folder; the JARs lie in `jars/` in it.
        jars_dir: The folder of the JARs, if another one (GOLDPATH_JARS_DIR).

    Raises:
        EngineError: if a JAR is missing, or has another digest.
    """
    folder = jars_dir or home / "jars"
    for jar in DELTA_JARS:
        path = folder / jar.file_name
        if not path.is_file():
            raise EngineError(
                object=f"JAR {jar.coordinates}",
                observed=f"the file {path} does not exist",
                expected="the Delta Lake JARs, fetched before the spark engine starts",
                next_step="run: goldpath jars (or put the file into a folder and set GOLDPATH_JARS_DIR to that folder, "
                "or use GOLDPATH_ENGINE=embedded, which needs no JAR)",
            )
        if not jar.is_intact(path):
            raise EngineError(
                object=f"JAR {jar.coordinates}",
                observed=f"{path} has another SHA-256 than expected",
                expected=jar.sha256,
                next_step="delete the file, then run: goldpath jars",
            )
    return [folder / jar.file_name for jar in DELTA_JARS]


def fetch_jars(home: Path, *, report: Callable[[str], None]) -> list[Path]:
    """Fetches the JARs to `jars/` in `home`, each from the first source that gives a file with the expected digest.

    The sources are the local Maven repository, `mvn` if it is installed, then the Ivy resolver inside pyspark, which
    needs only a Java. A JAR that is already in place with the expected digest is kept.

    Args:
        home: Goldpath's home folder.
        report: Receives one line for each JAR.

    Returns:
        The paths of the JARs.

    Raises:
        EngineError: if no source has a JAR; it holds the problem of each source.
    """
    folder = home / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    for jar in DELTA_JARS:
        target = folder / jar.file_name
        if target.is_file() and jar.is_intact(target):
            report(f"{jar.coordinates}: already in {folder}")
            continue
        problems: list[str] = []
        for name, fetch in (("local Maven repository", _from_repository), ("mvn", _from_maven), ("Ivy", _from_ivy)):
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                fetched = Path(scratch) / jar.file_name
                problem = fetch(jar, Path(scratch)) or _problem_of(fetched, jar)
                if problem is None:
                    fetched.replace(target)
                    report(f"{jar.coordinates}: from {name} to {folder}")
                    break
            problems.append(f"{name}: {problem}")
        else:
            raise EngineError(
                object=f"JAR {jar.coordinates}",
                observed="; ".join(problems),
                expected=f"a file with SHA-256 {jar.sha256}",
                next_step="check the network (behind a private certificate authority, set SSL_CERT_FILE), "
                "or copy the file into a folder and set GOLDPATH_JARS_DIR to that folder",
            )
    return ensure_jars(home)


def _problem_of(fetched: Path, jar: Jar) -> str | None:
    """What is wrong with a fetched file; None if it is the JAR."""
    if not fetched.is_file():
        return "it succeeded, but wrote no file"
    return None if jar.is_intact(fetched) else "its file has another SHA-256 than expected"


def _from_repository(jar: Jar, scratch: Path) -> str | None:
    path = Path.home() / ".m2" / "repository" / jar.repository_path
    if not path.is_file():
        return f"the file {path} does not exist"
    shutil.copyfile(path, scratch / jar.file_name)
    return None


def _from_maven(jar: Jar, scratch: Path) -> str | None:
    maven = shutil.which("mvn")
    if maven is None:
        return "not on the PATH"
    return _run(
        [maven, "--batch-mode", "--quiet", MAVEN_COPY, f"-Dartifact={jar.coordinates}", f"-DoutputDirectory={scratch}"]
    )


def _from_ivy(jar: Jar, scratch: Path) -> str | None:
    return run_ivy(
        ["-notransitive", "-types", "jar", "-confs", "default", "-dependency", jar.group, jar.artifact, jar.version,
         "-retrieve", str(scratch / "[artifact]-[revision].[ext]")],
        scratch,
    )  # fmt: skip


def run_ivy(arguments: list[str], scratch: Path) -> str | None:
    """Runs the Ivy resolver inside pyspark; its cache, and a trust store made from SSL_CERT_FILE, lie in `scratch`.

    Returns:
        None if it succeeded, else the end of its output.

    Raises:
        EngineError: if there is no Java.
    """
    pyspark = importlib.util.find_spec("pyspark")
    if pyspark is None or pyspark.origin is None:
        return "pyspark is not installed"
    command = [str(find_java().binary), f"-Duser.home={scratch}"]
    if certificates := os.environ.get("SSL_CERT_FILE"):
        store, password = scratch / "trusted.p12", "trusted"
        _write_trust_store(Path(certificates), store, password)
        command += [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={password}"]
    command += ["-cp", str(Path(pyspark.origin).parent / "jars" / "*"), "org.apache.ivy.Main"]
    return _run([*command, "-error", "-cache", str(scratch / "cache"), *arguments])


def _write_trust_store(certificates: Path, store: Path, password: str) -> None:
    """Writes PEM certificates (SSL_CERT_FILE, which the machine's other clients trust) as a PKCS #12 store for Java."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old root certificates whose serial number is not valid
        loaded = x509.load_pem_x509_certificates(certificates.read_bytes())
    entries = [pkcs12.PKCS12Certificate(certificate, str(n).encode()) for n, certificate in enumerate(loaded)]
    store.write_bytes(pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(password.encode())))


def _run(command: list[str]) -> str | None:
    """Runs a command; None if it succeeded, else the last three lines of its output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"no answer in {FETCH_SECONDS} s"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or f"exit code {done.returncode}"
