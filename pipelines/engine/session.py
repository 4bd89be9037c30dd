"""Starts the engine that computes tables: Sail in this process, or Apache Spark, both over Spark Connect.

Both give a `SparkSession` in UTC with ANSI rules that writes timestamps to Parquet as microseconds in UTC.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, cast

from pipelines.engine import arrow_rows
from pipelines.engine.jars import ensure_jars
from pipelines.engine.sail import SailServer
from pipelines.engine.spark import DEBUGGING, DELTA_CONF, SparkServer
from pipelines.errors import EngineError
from pipelines.machine import environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Kind = Literal["embedded", "spark"]

SECONDS_TO_ANSWER = 30

#: Settings of each new session of either engine.
SESSION_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
}
#: Further settings of each new session of Sail; of Spark the server has it, in `STATIC_CONF`.
SAIL_SESSION_CONF = {DEBUGGING: "false"}
#: Further settings of each new session of Apache Spark.
SPARK_SESSION_CONF = {
    "spark.databricks.delta.snapshotPartitions": "2",
    # The same table properties as on the embedded engine: `pipelines.lakehouse.delta_commits.PROPERTIES`.
    "spark.databricks.delta.properties.defaults.checkpointInterval": "10",
    "spark.databricks.delta.properties.defaults.enableExpiredLogCleanup": "false",
    "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration": "interval 30 days",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.connect.serverStacktrace.enabled": "false",
    # With columnar input a Python UDF over a Parquet read hangs (Spark 4.2.0).
    "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false",
    "spark.sql.pyspark.jvmStacktrace.enabled": "false",
}

#: Loggers of PySpark that print each raised exception a second time, as JSON with a stack trace.
REPEATING_LOGGERS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")


class Server(Protocol):
    """A Spark Connect server that this process started."""

    #: Its address, `sc://host:port`, with the token if it needs one.
    remote: str

    def stop(self) -> None: ...


#: What to do where the embedded engine's port cannot be closed to the other accounts of the machine.
OpenPort = Literal["refuse", "allow"]


class Engine:
    """A started engine with one session. A process needs one: a session can be shared, a server takes long to start.

    As a context manager it stops at the end of the block.
    """

    def __init__(self, *, kind: Kind, session: SparkSession, server: Server | None) -> None:
        self.kind = kind
        self.session = session
        self._server = server

    @classmethod
    def start(
        cls,
        kind: Kind,
        *,
        home: Path,
        remote: str | None = None,
        master: str | None = None,
        threads: int = 2,
        jars_dir: Path | None = None,
        open_port: OpenPort = "refuse",
    ) -> Engine:
        """Starts a server on loopback, unless `remote` names one, and opens a session on it.

        Args:
            kind: `embedded` is Sail, `spark` is Apache Spark with Delta Lake.
            home: Goldpath's home folder; the engine writes logs and temporary files to folders in it.
            remote: Address of a running Spark Connect server, `sc://host:port`; for `spark` only.
            master: Cluster whose executors the started server uses, `spark://host:port`; for `spark` only.
            threads: Number of threads of a local server, and of shuffle partitions.
            jars_dir: Folder of the Delta JARs, if they are not in `<home>/jars`.
            open_port: Whether `embedded` starts where its port stays open to the other accounts of this machine.

        Raises:
            EngineError: if a part (Java, a JAR, a setting of the server at `remote`) is missing, no server answers, or
                another process can use the server.
        """
        if remote is not None and (kind != "spark" or not remote.startswith("sc://")):
            raise EngineError(
                object=f"engine {kind!r}",
                observed=f"remote address {_shown(remote)!r}",
                expected="sc://host:port, with the engine spark",
                next_step="set GOLDPATH_ENGINE=spark and GOLDPATH_SPARK_REMOTE=sc://…, or unset the latter",
            )
        if master is not None and (kind != "spark" or remote is not None):
            raise EngineError(
                object=f"engine {kind!r}",
                observed=f"cluster {master!r}" + (" and a remote address" if remote else ""),
                expected="the engine spark, and either a cluster for a server to start or the address of a server",
                next_step="set GOLDPATH_ENGINE=spark and one of GOLDPATH_SPARK_MASTER and GOLDPATH_SPARK_REMOTE",
            )
        home = home.absolute()
        if remote is not None:
            return cls._connect(kind, remote, server=None, threads=threads, open_port=open_port)
        server: Server
        if kind == "embedded":
            server = SailServer.start(home=home, threads=threads)
        else:
            jars = ensure_jars(home, jars_dir=jars_dir)
            server = SparkServer.start(home=home, jars=jars, master=master or f"local[{threads}]")
        try:
            return cls._connect(kind, server.remote, server=server, threads=threads, open_port=open_port)
        except BaseException:
            server.stop()
            raise

    @classmethod
    def _connect(cls, kind: Kind, remote: str, *, server: Server | None, threads: int, open_port: OpenPort) -> Engine:
        # With gRPC's fork handlers, a process that is forked while a query runs, such as a JVM's, aborts before it
        # begins its program.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
        session = _open_session(remote, server=server, open_port=open_port)
        if server is None:
            _require_delta(session, remote)
        conf = dict(SESSION_CONF)
        if kind == "spark":
            conf |= SPARK_SESSION_CONF | {"spark.sql.shuffle.partitions": str(threads)}
        else:
            conf |= SAIL_SESSION_CONF
        for name, value in conf.items():
            session.conf.set(name, value)
        if isinstance(server, SailServer):
            arrow_rows.runs_here(session, threads)
        return cls(kind=kind, session=session, server=server)

    def stop(self) -> None:
        """Stops the session, and the server if this process started it. A second call does nothing."""
        self.session.stop()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _shown(remote: str) -> str:
    """The address without its parameters, one of which may be a token."""
    return remote.partition("/;")[0]


def _require_delta(session: SparkSession, remote: str) -> None:
    """Raises EngineError if the server at `remote` was started without the settings that Delta Lake needs."""
    observed = {name: session.conf.get(name, "") or "" for name in DELTA_CONF}
    missing = [f"{name}={value}" for name, value in DELTA_CONF.items() if value not in observed[name]]
    if missing:
        session.stop()
        raise EngineError(
            object=f"Spark Connect server {_shown(remote)}",
            observed=f"it was started without {', '.join(missing)}",
            expected="a server with Delta Lake",
            next_step="start it with these settings and the Delta JARs, as docs/engines.md shows",
        )


def _open_session(remote: str, *, server: Server | None, open_port: OpenPort) -> SparkSession:
    """Opens a session, and closes Sail's port behind it; `server` is one that this process started.

    Raises:
        EngineError: if the server does not answer within `SECONDS_TO_ANSWER`, or another process can use Sail.
    """
    import grpc
    from pyspark.logger import PySparkLogger
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    class OneChannel(DefaultChannelBuilder):
        """Builds one channel, and returns it each time: to a closed port there can be no second."""

        channel: grpc.Channel | None = None

        def toChannel(self) -> grpc.Channel:  # noqa: N802 - pyspark's name
            self.channel = self.channel or super().toChannel()
            return self.channel

    for name in REPEATING_LOGGERS:
        PySparkLogger.getLogger(name).disabled = True
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = (
        "1"  # pyspark.sql.functions reads it to choose the API of its expressions
    )
    # A proxy in the variable http_proxy cannot reach the loopback address of this machine, and an idle connection must
    # not be given up: with the port closed it cannot be made again.
    options = [("grpc.enable_http_proxy", 0), ("grpc.client_idle_timeout_ms", 2**31 - 1)] if server else []
    # With a token for another server in the environment, the client would use TLS, which the local server does not.
    with environment.during({"SPARK_CONNECT_AUTHENTICATE_TOKEN": None} if server else {}):
        builder = OneChannel(remote, channelOptions=options)
        channel = builder.toChannel()
        try:
            grpc.channel_ready_future(channel).result(timeout=SECONDS_TO_ANSWER)
            if isinstance(server, SailServer):
                server.close_port(if_it_stays_open=open_port)
            return cast("SparkSession", ConnectSession.builder.channelBuilder(builder).create())
        except grpc.FutureTimeoutError:
            channel.close()
            raise EngineError(
                object=f"Spark Connect server {_shown(remote)}",
                observed=f"no answer in {SECONDS_TO_ANSWER} s",
                expected="a Spark Connect server at this address",
                next_step="start it or correct GOLDPATH_SPARK_REMOTE",
            ) from None
        except BaseException:
            channel.close()
            raise
