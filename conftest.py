"""What every test runs under: no network, the same draws every time, plots without a window."""

from __future__ import annotations

import os
import socket
import sys

import hypothesis
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# derandomize: a test that fails on one machine fails on all of them. deadline: CI machines are busy.
hypothesis.settings.register_profile("whybox", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("whybox")

_connect = socket.socket.connect
_LOOPBACK = ("127.", "::1", "localhost")


def _connect_to_this_machine(self: socket.socket, address: object) -> None:
    """As socket.connect, for loopback addresses and local sockets only."""
    if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
        raise RuntimeError(f"a test tried to reach {address!r}: tests use no network; serve it on 127.0.0.1 or leave it out")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """Refuse connections that leave this machine."""
    socket.socket.connect = _connect_to_this_machine
    yield
    socket.socket.connect = _connect


@pytest.fixture(autouse=True)
def _no_open_figures():
    """Plots that a test leaves to pyplot do not pile up."""
    yield
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU, in sight, where there is none."""
    on_gpu = [item for item in items if item.get_closest_marker("cuda")]
    if not on_gpu:
        return
    try:
        import torch

        missing = "" if torch.cuda.is_available() else "torch sees no NVIDIA GPU"
    except ImportError:
        missing = "torch is not installed"
    for item in on_gpu if missing else ():
        item.add_marker(pytest.mark.skip(reason=missing))
