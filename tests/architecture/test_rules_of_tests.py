"""The rules that tests/conftest.py sets for every test hold."""

import socket
import warnings

import pytest


def test_a_test_cannot_reach_the_network():
    with socket.socket() as door, pytest.raises(RuntimeError, match="tests use no network"):
        door.connect(("192.0.2.1", 80))  # an address for documentation; nothing is sent


def test_a_test_can_reach_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_a_warning_is_an_error():
    with pytest.raises(UserWarning, match="careless"):
        warnings.warn("careless", UserWarning, stacklevel=1)
