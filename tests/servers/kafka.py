"""Apache Kafka: one broker that is its own controller (KRaft), from the JARs on Maven Central."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.engine.jars import run_ivy
from pipelines.engine.java import find_java
from pipelines.errors import EngineError
from pipelines.machine.child_process import ChildProcess
from pipelines.machine.ports import LOOPBACK, free_port
from tests.servers import TOOLS, listening, missing

COORDINATES = (("org.apache.kafka", "kafka_2.13", "4.1.0"), ("org.slf4j", "slf4j-simple", "1.7.36"))
JARS = TOOLS / "kafka-4.1.0"
#: SHA-256 over the name and the SHA-256 of each JAR, in the order of their names.
JARS_DIGEST = "761379bf49cac30792df08bc54e3d687614b0854f7d91cad732afe590164cb7b"
MEMORY = "-Xmx512m"

PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},SASL_PLAINTEXT://{host}:{guarded},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},SASL_PLAINTEXT://{host}:{guarded}
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_reader="{password}";
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.retention.check.interval.ms=500
log.cleaner.backoff.ms=500
log.segment.delete.delay.ms=100
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker.

    Attributes:
        address: Host and port of the listener without authentication.
        guarded: Host and port of the listener that requires the user `reader` and the password.
        password: The password of `reader`.
    """

    address: str
    guarded: str
    password: str

    @property
    def url(self) -> str:
        return f"kafka://{self.address}"

    @property
    def guarded_url(self) -> str:
        return f"kafka://reader:{self.password}@{self.guarded}?security.protocol=SASL_PLAINTEXT"


def digest(folder: Path) -> str:
    """The digest of a folder's JARs, as JARS_DIGEST has it."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.jar"), key=lambda path: path.name):
        total.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def fetch() -> None:
    """Downloads Kafka and its dependencies (45 MB) into `.tools`, unless they are there.

    Raises:
        EngineError: if Ivy cannot download them, or their digest is not JARS_DIGEST.
    """
    if JARS.is_dir():
        return
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS) as scratch:
        lib = Path(scratch) / "lib"
        for group, artifact, version in COORDINATES:
            error = run_ivy(
                ["-types", "jar", "bundle", "-confs", "default", "-dependency", group, artifact, version,
                 "-retrieve", str(lib / "[artifact]-[revision].[ext]")],
                Path(scratch),
            )  # fmt: skip
            if error is not None:
                raise EngineError(
                    object=f"{group}:{artifact}:{version}",
                    observed=error,
                    expected="its JARs and those of its dependencies",
                    next_step="check the network (behind a private certificate authority, set SSL_CERT_FILE)",
                )
        if (observed := digest(lib)) != JARS_DIGEST:
            raise EngineError(
                object=f"the JARs of Kafka {COORDINATES[0][2]}",
                observed=f"digest {observed}",
                expected=JARS_DIGEST,
                next_step="find out which JAR changed; the digest is pinned in tests/servers/kafka.py",
            )
        shutil.move(lib, JARS)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Broker]:
    """Runs a broker with its data below `folder` until the block ends."""
    if not JARS.is_dir():
        raise missing("Kafka", str(JARS))
    port, guarded, password = free_port(), free_port(), secrets.token_hex(12)
    properties = folder / "server.properties"
    folder.mkdir(parents=True, exist_ok=True)
    properties.write_text(
        PROPERTIES.format(
            host=LOOPBACK, port=port, guarded=guarded, controller=free_port(), password=password, data=folder / "data"
        ),
        encoding="utf-8",
    )
    java = [str(find_java().binary), MEMORY, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS}{os.sep}*"]  # fmt: skip
    # An id that begins with a hyphen, as one of 64 does, would be taken for an option.
    cluster = base64.urlsafe_b64encode(bytes(1) + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    formatting = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
    process = subprocess.run(formatting, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if process.returncode != 0:
        raise EngineError(
            object="Kafka for tests",
            observed=process.stdout + process.stderr,
            expected="a formatted data folder",
            next_step="correct the properties in tests/servers/kafka.py",
        )
    child = ChildProcess.start("Kafka", [*java, "kafka.Kafka", str(properties)], log=folder / "kafka.log")
    try:
        listening(child, port)
        yield Broker(f"{LOOPBACK}:{port}", f"{LOOPBACK}:{guarded}", password)
    finally:
        child.stop()
