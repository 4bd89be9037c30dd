"""Connects this process to a Ray cluster: the configured one, else the one running on this machine, else a new one.

A cluster on this machine listens on loopback only and requires the token in `<home>/ray/token`. The process that
started a cluster ends it; every other process only disconnects.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import EngineError
from pipelines.machine import ports
from pipelines.machine.ray_environment import (
    NAMESPACE,
    OBJECT_STORE_BYTES,
    cpu_slots,
    prepare_environment,
    session_folder,
)
from pipelines.machine.ray_head import running
from pipelines.settings import Settings

ANSWER_SECONDS = 10.0
START_ATTEMPTS = 3

Origin = Literal["configured", "running", "started", "joined"]


@dataclass(slots=True)
class RayCluster:
    """This process's connection to a Ray cluster. As a context manager, calls `shutdown` at its end.

    Attributes:
        address: Host and port of the cluster.
        origin: Where the cluster comes from: `configured` by GOLDPATH_RAY_ADDRESS, `running` on this machine before,
            `started` by this process, or `joined` because this process was already connected.
    """

    address: str
    origin: Origin

    def shutdown(self) -> None:
        """Ends a `started` cluster, disconnects from a `configured` or `running` one, and keeps a `joined` one."""
        import ray

        if self.origin != "joined" and ray.is_initialized():
            ray.shutdown()

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


#: Is set when the connection that is made beside other work is there, or failed; None where none is made.
_beside: threading.Event | None = None


@contextlib.contextmanager
def connected_beside(settings: Settings, *, imports: Sequence[str] = ()) -> Iterator[None]:
    """Connects this process to a Ray cluster beside the work of the block, and disconnects at the block's end.

    For a block that needs the cluster late: its calls of `connect` wait for this connection and join it. A failure is
    left to them, who try again and raise. A cluster that was started in the block ends with it. The processor time of
    the start is metered with the work beside it.

    Args:
        settings: Of the home folder.
        imports: Modules that the later work needs; they are imported after the connection.
    """
    global _beside

    connected, ended = threading.Event(), threading.Event()

    def work() -> None:
        try:
            with contextlib.suppress(EngineError):  # `connect` meets it again, where it can be raised
                _connect(settings)
                for module in imports:
                    importlib.import_module(module)
        finally:
            connected.set()
        ended.wait()  # Linux kills Ray's processes, which die with their parent, when the thread that started them ends

    # Ray ends its processes as this one exits, and makes an exit of SIGTERM only if it is started in the main thread.
    exiting = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if exiting:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    thread = threading.Thread(target=work, name="ray", daemon=True)
    thread.start()
    _beside = connected
    try:
        yield
    finally:
        connected.wait()
        _beside = None
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            sys.modules["ray"].shutdown()
        ended.set()
        thread.join()
        if exiting:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def connect(settings: Settings) -> RayCluster:
    """Connects this process to a Ray cluster, and starts one in this process if there is none.

    Raises:
        EngineError: if the configured or running cluster does not answer, a new one does not start, or Ray was imported
            before `prepare_environment` was called.
    """
    if _beside is not None:
        _beside.wait()
    return _connect(settings)


def _connect(settings: Settings) -> RayCluster:
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return RayCluster(sys.modules["ray"].get_runtime_context().gcs_address, "joined")
    prepare_environment(settings)
    import ray

    if settings.ray_address:
        return _join(settings.ray_address, "configured")
    _require_loopback()
    address = running(settings)
    if address:
        return _join(address, "running")
    _start_here(settings)
    return RayCluster(ray.get_runtime_context().gcs_address, "started")


def _start_here(settings: Settings) -> None:
    """Starts a cluster in this process. Repeats a failed start: on a busy machine Ray can exceed its own 30 seconds."""
    import ray

    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(
                address="local",
                num_cpus=cpu_slots(),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                namespace=NAMESPACE,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=str(session_folder(settings)),
            )
            return
        except Exception as error:  # Ray raises the base class itself where a node starts too slowly
            ray.shutdown()
            if attempt == START_ATTEMPTS:
                raise EngineError(
                    object="Ray on this machine",
                    observed=str(error).splitlines()[0],
                    expected=f"a cluster that starts within {START_ATTEMPTS} attempts",
                    next_step="end other programs that use the processors, and run it again",
                ) from error


def _require_loopback() -> None:
    """Raises EngineError if Ray was imported before its environment limited it to loopback: it would wait for ever."""
    from ray.util import get_node_ip_address

    if get_node_ip_address() != ports.LOOPBACK:
        raise EngineError(
            object="Ray in this process",
            observed=f"it was imported before its environment was set, and would use {get_node_ip_address()}",
            expected=f"a cluster that listens on {ports.LOOPBACK} only",
            next_step="call pipelines.machine.ray_environment.prepare_environment before the first `import ray`",
        )


def _join(address: str, origin: Origin) -> RayCluster:
    import ray
    from ray.exceptions import RayError

    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        # Ray itself retries an address without a server for 15 minutes.
        if port.isdigit() and not ports.wait_open(int(port), seconds=ANSWER_SECONDS, host=host):
            raise ConnectionError(f"no server accepts connections within {ANSWER_SECONDS:.0f} s")
        ray.init(address=address, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, RayError) as error:
        raise EngineError(
            object=f"Ray cluster {address}",
            observed=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            expected="a cluster that answers",
            next_step="start `goldpath dev`" if origin == "running" else "correct GOLDPATH_RAY_ADDRESS, or unset it",
        ) from error
    return RayCluster(address, origin)
