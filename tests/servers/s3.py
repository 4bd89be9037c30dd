"""S3: moto's server, which accepts any keys, and versitygw, which checks keys and stores objects as files."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.machine.child_process import ChildProcess
from pipelines.machine.ports import LOOPBACK, free_port
from tests.servers import TOOLS, listening, missing

#: The folder of Go's own installation archive, which is not always on the PATH.
GO_FOLDER = "/usr/local/go/bin"
VERSITYGW = TOOLS / "bin" / "versitygw"
MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
BUCKET = "goldpath"
REGION = "us-east-1"
KEYS = ("testaccess", "testsecret-0123456789")

Kind = Literal["moto", "versitygw"]


@dataclass(frozen=True, slots=True)
class S3:
    """A running server with one empty bucket."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = REGION
    bucket: str = BUCKET


def build() -> None:
    """Builds versitygw into `.tools`, unless it is there; prints what to install if there is no Go."""
    if VERSITYGW.is_file():
        return
    go = shutil.which("go") or shutil.which("go", path=GO_FOLDER)
    if go is None:
        print("No Go on the PATH: install Go 1.25 or newer for the tests against versitygw.")
        return
    print("Building versitygw into .tools, once: two to three minutes.")
    VERSITYGW.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([go, "install", MODULE], env=os.environ | {"GOBIN": str(VERSITYGW.parent)}, check=True)


@contextlib.contextmanager
def running(kind: Kind, folder: Path) -> Iterator[S3]:
    """Runs a server with an empty bucket until the block ends."""
    import boto3

    server = S3(f"http://{LOOPBACK}:{(port := free_port())}", *KEYS)
    if kind == "moto":
        command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    else:
        if not VERSITYGW.is_file():
            raise missing("versitygw", str(VERSITYGW))
        (folder / "buckets").mkdir(parents=True)
        (folder / "attributes").mkdir()
        command = [str(VERSITYGW), "--port", f"{LOOPBACK}:{port}", "--quiet", "posix",
                   "--sidecar", str(folder / "attributes"), str(folder / "buckets")]  # fmt: skip
    env = os.environ | {"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key}
    child = ChildProcess.start(kind, command, log=folder / f"{kind}.log", env=env)
    try:
        listening(child, port)
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=server.region,
        )
        client.create_bucket(Bucket=server.bucket)
        client.close()
        yield server
    finally:
        child.stop()
