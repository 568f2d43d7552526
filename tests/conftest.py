"""Rules that hold for every test: no network, a known number of threads, seeds that repeat."""

import os
import shutil
import signal
import socket
import sys

import pytest
import torch
from hypothesis import HealthCheck, settings

# Without a GPU, Triton interprets its kernels. It decides that when it is first imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A job in the background of a shell ignores SIGINT, and so do the processes that tests start and
# interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")

_PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "fast", deadline=None, max_examples=50, derandomize=True, suppress_health_check=_PATIENT
)
settings.register_profile(
    "thorough", deadline=None, max_examples=500, suppress_health_check=_PATIENT
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def find_chromium() -> str | None:
    """Path of a Chromium on this machine, or None."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def pytest_runtest_setup(item):
    """Skip, with the reason, what this machine cannot run."""
    if item.get_closest_marker("browser") and find_chromium() is None:
        pytest.skip("no Chromium found on PATH")
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Let sockets reach this machine only (the gloo back end and the browser driver need that)."""
    connect = socket.socket.connect

    def guarded(self, address):
        is_inet = self.family in (socket.AF_INET, socket.AF_INET6)
        if is_inet and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address!r}: tests use no network")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _torch_at_one_thread():
    """Give each test one torch thread, so that two processes on two cores do not get in the way."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def chromium() -> str:
    """Path of the Chromium that browser tests drive."""
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium found on PATH")
    return path
