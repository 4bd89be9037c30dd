"""What Ray uses on this machine: environment variables, the token, CPU slots, and the folder of its sessions."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from pipelines.errors import EngineError
from pipelines.machine import files
from pipelines.settings import PROJECT, Settings

NAMESPACE = "goldpath"
OBJECT_STORE_BYTES = 256 * 2**20
#: Ray counts CPUs as slots: with fewer than four, a served model and a training run with two workers block each other.
MINIMUM_CPU_SLOTS = 4
KEPT_SESSIONS = 3
#: Where Serve's proxy, another process, finds what it does about a lost replica.
PROXY_MIDDLEWARES = "serving.door.replica_loss:middlewares"


def prepare_environment(settings: Settings) -> None:
    """Sets the environment variables that Ray reads, for this process and its children.

    Ray reads most of them while it is imported: call this before the first `import ray`. For a configured cluster
    (GOLDPATH_RAY_ADDRESS) the network and the token are left to the environment of its operator.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", PROXY_MIDDLEWARES)
    if settings.ray_address:
        return
    # Single-node mode, for which Ray has no other name: all servers listen on loopback, not on every interface.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    token_path = str(token_file(settings))
    token_changed = os.environ.get("RAY_AUTH_TOKEN_PATH") not in (None, token_path)
    os.environ["RAY_AUTH_TOKEN_PATH"] = token_path
    if token_changed and "ray" in sys.modules:
        # Ray caches the first token that it read, also when this process works with another home folder from then on.
        from ray._raylet import AuthenticationTokenLoader  # ty: ignore[import-not-found]

        AuthenticationTokenLoader.instance().reset_cache()
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
    elif os.environ.get("RAY_AUTH_MODE") != "token":
        # A loaded Ray no longer reads it; where it is unset, `ray.init` enables token authentication by itself.
        os.environ.pop("RAY_AUTH_MODE", None)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(PROJECT) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, paths)])


def token_file(settings: Settings) -> Path:
    """The file with the token of this home folder's cluster, readable only by its owner; created on first use."""
    path = settings.root / "ray" / "token"
    files.secret(path, lambda: secrets.token_hex(32))
    return path


def cpu_slots() -> int:
    """The number of CPU slots of a cluster on this machine."""
    return max(MINIMUM_CPU_SLOTS, os.cpu_count() or 1)


def session_folder(settings: Settings) -> Path:
    """The folder of Ray's logs and sockets; it is created, and old sessions in it are removed.

    It lies outside the home folder, since the path of a socket can be at most 107 bytes long. The newest KEPT_SESSIONS
    sessions are kept, and every session of a living process.

    Raises:
        EngineError: if another user owns the folder.
    """
    name = f"goldpath-ray-{hashlib.sha256(str(settings.root).encode()).hexdigest()[:10]}"
    base = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    folder = base / name
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise EngineError(
            object=f"Ray's session folder {folder}",
            observed="it belongs to another user",
            expected="a folder that this user owns",
            next_step="remove it, or choose another GOLDPATH_HOME",
        )
    folder.chmod(0o700)  # Ray lets everyone write into the folders below it
    sessions = sorted(path for path in folder.glob("session_2*") if path.is_dir())
    for session in sessions[:-KEPT_SESSIONS]:
        if not _in_use(session):
            shutil.rmtree(session, ignore_errors=True)
    return folder


def _in_use(session: Path) -> bool:
    """Whether the process that created the session is alive; the name of the session ends with its process id."""
    import psutil

    return psutil.pid_exists(int(session.name.rpartition("_")[2]))
