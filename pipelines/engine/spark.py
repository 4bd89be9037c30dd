"""A Spark Connect server of Apache Spark with Delta Lake, in a JVM that belongs to this process.

The JVM is started the way PySpark starts its own (a gateway that ends when its standard input closes), so it ends with
this process, also after `kill -9`. It listens on loopback only, asks for a token, and everything it writes lies in
one folder: `spark/warehouse`, `spark/tmp`, `spark/server.log`.
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
from pipelines.machine import environment as environ

LOOPBACK = "127.0.0.1"
SECONDS_TO_STOP = 20
LOG_LINES_IN_ERROR = 20

#: What a server needs for tables that delta-rs writes too; one that somebody else started is asked for it.
DELTA_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # delta-rs writes beside Spark and keeps no .crc files; one left by Hadoop's default would fail Spark's next read.
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.file.impl": "org.apache.hadoop.fs.local.RawLocalFs",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}
#: Read once when the JVM starts; what may differ per session stands in `pipelines.engine.session.SESSION_CONF`.
STATIC_CONF = DELTA_CONF | {
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
#: Without executors elsewhere nobody has to reach this JVM.
LOCAL_CONF = {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}


class SparkServer:
    """A running local server."""

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
        """Starts the JVM and waits until it answers.

        Further settings of Spark, such as the executors' memory, may stand in `spark/spark-defaults.conf` below `home`.

        Args:
            home: Goldpath's state folder; the server writes to `spark/` in it.
            jars: The Delta JARs.
            master: Where tasks run: `local[threads]`, or a cluster, `spark://host:port`.

        Raises:
            EngineError: without a Java, or if the JVM does not come up; it holds the end of the server's log.
        """
        from py4j.protocol import Py4JError
        from pyspark import SparkConf
        from pyspark.errors import PySparkException
        from pyspark.java_gateway import launch_gateway

        java_home = find_java().home(home)
        folder = home / "spark"
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        log = folder / "server.log"
        conf = SparkConf(loadDefaults=False)
        local = master.startswith("local")
        settings = STATIC_CONF | (LOCAL_CONF if local else {})
        conf.setAll(list(settings.items())).setMaster(master).setAppName("goldpath")
        conf.set("spark.jars", ",".join(str(jar) for jar in jars))
        conf.set("spark.sql.warehouse.dir", str(folder / "warehouse"))
        conf.set("spark.local.dir", str(folder / "tmp"))
        environment = {
            "JAVA_HOME": str(java_home),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_HOME": None,
            "SPARK_CONF_DIR": str(folder),
            "SPARK_REMOTE": None,
            "SPARK_CONNECT_AUTHENTICATE_TOKEN": None,
            "PYSPARK_SUBMIT_ARGS": None,
            "PYSPARK_GATEWAY_PORT": None,
        } | ({"SPARK_LOCAL_IP": LOOPBACK} if local else {})
        token = secrets.token_hex(16)
        try:
            with log.open("ab") as output, environ.during(environment):
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
        # The name, not the address: the client sends a token over an unencrypted channel only to "localhost".
        return cls(gateway, context, f"sc://localhost:{port}/;token={token}")

    def stop(self) -> None:
        """Stops Spark and waits until the JVM has ended."""
        from py4j.protocol import Py4JError

        with contextlib.suppress(Py4JError):
            self._context.stop()
        _end(self._gateway)


def _end(gateway: Any) -> None:
    with contextlib.suppress(OSError):
        gateway.shutdown()
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(timeout=SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()


def _not_started(log: Path, reason: str) -> EngineError:
    end = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_IN_ERROR:])
    return EngineError(
        object="Apache Spark server",
        observed=f"it did not start: {reason}\n{end}\n",
        expected="a Spark Connect server on loopback",
        next_step=f"read {log}",
    )
