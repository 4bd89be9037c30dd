"""A Spark Connect server of Apache Spark with Delta Lake, in a JVM that belongs to this process.

The JVM is started as PySpark starts its own: a gateway that ends when its standard input closes. It therefore ends with
this process, even after `kill -9`. It listens on loopback only, requires a token, and writes to one folder only:
`spark/warehouse`, `spark/tmp`, `spark/server.log`.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.engine.java import find_java
from pipelines.errors import EngineError
from pipelines.machine import environment

LOOPBACK = "127.0.0.1"
SECONDS_TO_STOP = 20
LOG_LINES_IN_ERROR = 20

#: Settings that a server needs for Delta tables that delta-rs writes too; those of a running server are checked.
DELTA_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # The file system without .crc files: delta-rs writes none, and Spark's next read would fail on an outdated one.
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.file.impl": "org.apache.hadoop.fs.local.RawLocalFs",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}
#: With this setting PySpark looks for the line of the caller, and for IPython, at each operation on a column: a third
#: of the time in which a plan is made, and half of the plan's bytes.
DEBUGGING = "spark.python.sql.dataFrameDebugging.enabled"
#: Settings that the JVM reads once, at its start; those of a session are in `pipelines.engine.session`.
STATIC_CONF = DELTA_CONF | {
    DEBUGGING: "false",
    "spark.driver.memory": "2g",
    "spark.driver.extraJavaOptions": "-XX:-UsePerfData",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
    "spark.connect.grpc.binding.address": LOOPBACK,
    "spark.connect.grpc.binding.port": "0",
    "spark.connect.session.manager.defaultSessionTimeout": "-1",
    "spark.sql.catalogImplementation": "in-memory",
}
#: Settings of a server without executors on other machines: nothing outside this machine has to reach the JVM.
LOCAL_CONF = {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}


class SparkServer:
    """A running server in a JVM on this machine."""

    def __init__(self, gateway: Any, context: Any, remote: str) -> None:
        self._gateway = gateway
        self._context = context
        self.remote = remote

    @property
    def pid(self) -> int:
        """Process id of the JVM."""
        return int(self._gateway.proc.pid)

    @classmethod
    def start(cls, *, home: Path, jars: list[Path], master: str) -> SparkServer:
        """Starts the JVM and waits until the server listens.

        Further settings of Spark, such as the executors' memory, are read from `spark/spark-defaults.conf` in `home`.

        Args:
            home: Goldpath's home folder; the server writes to `spark/` in it.
            jars: Paths of the Delta JARs.
            master: Where tasks run: `local[threads]`, or a cluster, `spark://host:port`.

        Raises:
            EngineError: if there is no Java, or the JVM does not start; then it holds the end of the server's log.
        """
        from py4j.protocol import Py4JError
        from pyspark import SparkConf
        from pyspark.errors import PySparkException
        from pyspark.java_gateway import launch_gateway

        java_home = find_java().home(home)
        folder = home / "spark"
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        log = folder / "server.log"
        conf = SparkConf(loadDefaults=False).setAll(list(_server_conf(folder, jars, master).items()))
        token = secrets.token_hex(16)
        try:
            with log.open("ab") as output, environment.during(_server_variables(folder, java_home, master)):
                streams = {"cwd": folder, "stdout": output, "stderr": subprocess.STDOUT}
                gateway = launch_gateway(conf, popen_kwargs=streams)
        except PySparkException as error:
            raise _not_started(log, str(error)) from error
        try:
            jvm = gateway.jvm
            jvm_conf = jvm.org.apache.spark.SparkConf()
            jvm_conf.set("spark.connect.authenticate.token", token)
            context = jvm.org.apache.spark.api.java.JavaSparkContext(jvm_conf)
            service = getattr(jvm.org.apache.spark.sql.connect.service, "SparkConnectService$")
            port = int(getattr(service, "MODULE$").localPort())
        except Py4JError as error:
            _end(gateway)
            raise _not_started(log, str(error).splitlines()[0]) from error
        # "localhost", not its address: only there does the client send a token over an unencrypted channel.
        return cls(gateway, context, f"sc://localhost:{port}/;token={token}")

    def stop(self) -> None:
        """Stops Spark, and waits until the JVM has ended."""
        from py4j.protocol import Py4JError

        with contextlib.suppress(Py4JError):
            self._context.stop()
        _end(self._gateway)


def _server_conf(folder: Path, jars: list[Path], master: str) -> dict[str, str]:
    """The Spark settings of a server that writes to `folder`."""
    conf = STATIC_CONF | (LOCAL_CONF if _is_local(master) else {})
    return conf | {
        "spark.master": master,
        "spark.app.name": "goldpath",
        "spark.jars": ",".join(str(jar) for jar in jars),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "tmp"),
    }


def _server_variables(folder: Path, java_home: Path, master: str) -> dict[str, str | None]:
    """The environment variables of the JVM; None unsets one that the user may have set for another Spark."""
    variables: dict[str, str | None] = {
        "JAVA_HOME": str(java_home),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": None,
        "SPARK_CONF_DIR": str(folder),
        "SPARK_REMOTE": None,
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": None,
        "PYSPARK_SUBMIT_ARGS": None,
        "PYSPARK_GATEWAY_PORT": None,
    }
    return variables | ({"SPARK_LOCAL_IP": LOOPBACK} if _is_local(master) else {})


def _is_local(master: str) -> bool:
    return master.startswith("local")


def _end(gateway: Any) -> None:
    """Ends the JVM: asks it to, and kills it after `SECONDS_TO_STOP`."""
    with contextlib.suppress(OSError):
        gateway.shutdown()
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(timeout=SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()


def _not_started(log: Path, reason: str) -> EngineError:
    last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_IN_ERROR:])
    return EngineError(
        object="Apache Spark server",
        observed=f"it did not start: {reason}\n{last_lines}\n",
        expected="a Spark Connect server on loopback",
        next_step=f"read {log}",
    )
