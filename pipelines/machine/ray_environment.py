"""What Ray is told about this machine: its environment variables, its token, its CPU slots and its session folder."""

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
#: CPUs are slots to Ray: with fewer than four, a served model and a training run with two workers wait for each other.
MINIMUM_CPU_SLOTS = 4
KEPT_SESSIONS = 3


def prepare_environment(settings: Settings) -> None:
    """Sets what Ray reads from the environment, for this process and its children.

    Ray reads most of it while it is imported: call this first. For a configured cluster nothing is set about
    network and token, since whoever runs that cluster also says how to reach it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if settings.ray_address:
        return
    # Single-node mode, for which Ray has no other name: everything listens on loopback, not on every interface.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    token = str(token_file(settings))
    moved = os.environ.get("RAY_AUTH_TOKEN_PATH") not in (None, token)
    os.environ["RAY_AUTH_TOKEN_PATH"] = token
    if moved and "ray" in sys.modules:
        # Ray keeps the first token that it read, also when this process turns to another home folder.
        from ray._raylet import AuthenticationTokenLoader  # ty: ignore[import-not-found]

        AuthenticationTokenLoader.instance().reset_cache()
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
    elif os.environ.get("RAY_AUTH_MODE") != "token":
        # Too late for a loaded Ray to read it; left unset, `ray.init` turns token authentication on by itself.
        os.environ.pop("RAY_AUTH_MODE", None)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(PROJECT) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, paths)])


def token_file(settings: Settings) -> Path:
    """The file with the token of this home's cluster, readable by its owner alone; created on first use."""
    path = settings.root / "ray" / "token"
    files.secret(path, lambda: secrets.token_hex(32))
    return path


def cpu_slots() -> int:
    """How many CPUs a cluster on this machine offers."""
    return max(MINIMUM_CPU_SLOTS, os.cpu_count() or 1)


def session_folder(settings: Settings) -> Path:
    """Where Ray keeps logs and sockets: outside the home folder, since the path of a socket may hold 107 bytes.

    Only the newest few sessions are kept. Raises EngineError if another user owns the folder.
    """
    name = f"goldpath-ray-{hashlib.sha256(str(settings.root).encode()).hexdigest()[:10]}"
    base = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    folder = base / name
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise EngineError(
            object=f"Ray's session folder {folder}",
            observed="it belongs to another user",
            expected="a folder of this user's",
            next_step="remove it, or choose another GOLDPATH_HOME",
        )
    sessions = sorted(path for path in folder.glob("session_2*") if path.is_dir())
    for session in sessions[:-KEPT_SESSIONS]:
        if not _in_use(session):
            shutil.rmtree(session, ignore_errors=True)
    return folder


def _in_use(session: Path) -> bool:
    """Whether the process that made the session, whose id ends its name, is alive."""
    import psutil

    return psutil.pid_exists(int(session.name.rpartition("_")[2]))
