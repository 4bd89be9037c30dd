"""The door to the engine that computes tables: Sail in this process, or Apache Spark, both over Spark Connect.

Either gives a `SparkSession` in UTC, under ANSI rules, that writes timestamps to Parquet as UTC microseconds.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, cast

from pipelines.engine.jars import ensure_jars
from pipelines.engine.sail import SailServer
from pipelines.engine.spark import DELTA_CONF, SparkServer
from pipelines.errors import EngineError
from pipelines.machine import environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Kind = Literal["embedded", "spark"]

SECONDS_TO_ANSWER = 30

#: Set in each new session; sessions of both engines know these names.
SESSION_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
}
SPARK_SESSION_CONF = {
    "spark.databricks.delta.snapshotPartitions": "2",
    # As the embedded engine makes its tables: `lakehouse.PROPERTIES`.
    "spark.databricks.delta.properties.defaults.checkpointInterval": "10",
    "spark.databricks.delta.properties.defaults.enableExpiredLogCleanup": "false",
    "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration": "interval 30 days",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.connect.serverStacktrace.enabled": "false",
    # A Python UDF over a Parquet read hangs otherwise (Spark 4.2.0).
    "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false",
    "spark.sql.pyspark.jvmStacktrace.enabled": "false",
}

#: They print as JSON, with a stack trace, what the raised exception says already.
REPEATING_LOGGERS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")


class Server(Protocol):
    """A Spark Connect server that this process started."""

    remote: str

    def stop(self) -> None: ...


class Engine:
    """A started engine. One per process is enough: sessions are cheap to share, servers are not to start."""

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
    ) -> Engine:
        """Starts a server on loopback, unless `remote` names one, and opens a session on it.

        Args:
            kind: `embedded` is Sail, `spark` is Apache Spark with Delta Lake.
            home: Folder for everything that the engine writes beside tables.
            remote: Address of a running Spark Connect server, `sc://host:port`; for `spark` only.
            master: Cluster whose executors the started server uses, `spark://host:port`; for `spark` only.
            threads: Threads of a local server, and shuffle partitions.
            jars_dir: Folder of the Delta JARs, if they are not in `<home>/jars`.

        Raises:
            EngineError: if a part (Java, a JAR, a setting of the server at `remote`) is missing, or no server answers.
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
                observed=f"a cluster {master!r}" + (" and a remote address" if remote else ""),
                expected="one of the two, with the engine spark: a server is started on the cluster, or is there",
                next_step="set GOLDPATH_ENGINE=spark and one of GOLDPATH_SPARK_MASTER and GOLDPATH_SPARK_REMOTE",
            )
        home = home.resolve()
        if remote is not None:
            return cls._connect(kind, remote, server=None, threads=threads)
        server: Server
        if kind == "embedded":
            server = SailServer.start(home=home, threads=threads)
        else:
            jars = ensure_jars(home, jars_dir=jars_dir)
            server = SparkServer.start(home=home, jars=jars, master=master or f"local[{threads}]")
        try:
            return cls._connect(kind, server.remote, server=server, threads=threads)
        except BaseException:
            server.stop()
            raise

    @classmethod
    def _connect(cls, kind: Kind, remote: str, *, server: Server | None, threads: int) -> Engine:
        session = _open_session(remote, local=server is not None)
        if server is None:
            _require_delta(session, remote)
        conf = dict(SESSION_CONF)
        if kind == "spark":
            conf |= SPARK_SESSION_CONF | {"spark.sql.shuffle.partitions": str(threads)}
        for name, value in conf.items():
            session.conf.set(name, value)
        return cls(kind=kind, session=session, server=server)

    def stop(self) -> None:
        """Ends the session, and the server if it was started here. Does nothing the second time."""
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
    """The address without its parameters, of which one may be a token."""
    return remote.partition("/;")[0]


def _require_delta(session: SparkSession, remote: str) -> None:
    """Raises EngineError if a server that somebody else started lacks what can be set only when a server starts."""
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


def _open_session(remote: str, *, local: bool) -> SparkSession:
    import grpc
    from pyspark.logger import PySparkLogger
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    for name in REPEATING_LOGGERS:
        PySparkLogger.getLogger(name).disabled = True
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # pyspark.sql.functions asks this which API to build expressions for
    # A proxy that http_proxy names cannot reach this machine's loopback.
    options = [("grpc.enable_http_proxy", 0)] if local else []
    # A token that somebody set for another server would make the client speak TLS to ours.
    with environment.during({"SPARK_CONNECT_AUTHENTICATE_TOKEN": None} if local else {}):
        channel = DefaultChannelBuilder(remote, channelOptions=options)
        probe = channel.toChannel()
        try:
            grpc.channel_ready_future(probe).result(timeout=SECONDS_TO_ANSWER)
        except grpc.FutureTimeoutError:
            raise EngineError(
                object=f"Spark Connect server {_shown(remote)}",
                observed=f"no answer in {SECONDS_TO_ANSWER} s",
                expected="a server that listens there",
                next_step="start it or correct GOLDPATH_SPARK_REMOTE",
            ) from None
        finally:
            probe.close()
        return cast("SparkSession", ConnectSession.builder.channelBuilder(channel).create())
