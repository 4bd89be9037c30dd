"""Loopback ports: which are free, which process holds one, and when a server accepts connections."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import SettingsError
from pipelines.machine import ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    listener = socket.create_server((ports.LOOPBACK, 0))
    with listener:
        yield listener.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    assert not ports.is_free(taken)
    assert ports.is_free(ports.free_port())


def test_a_chosen_port_is_none_that_the_system_gives_to_programs_which_name_none() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert all(ports.free_port() < lowest for _ in range(20))


def test_the_error_for_a_taken_port_names_its_holder_and_the_option_that_chooses_another(taken: int) -> None:
    with pytest.raises(SettingsError) as caught:
        ports.require_free(taken, what="MLflow", option="--mlflow-port")
    assert caught.value.object == f"port {taken} for MLflow"
    assert f"(pid {os.getpid()})" in caught.value.observed
    assert "--mlflow-port" in caught.value.next_step


def test_wait_open_returns_whether_a_server_accepts_connections(taken: int) -> None:
    assert ports.wait_open(taken, seconds=1)
    assert not ports.wait_open(ports.free_port(), seconds=0.2)
