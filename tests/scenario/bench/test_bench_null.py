# SPDX-License-Identifier: Apache-2.0
"""The null relays carry every byte, every end and every wait: the floor must be a fair one."""
import contextlib
import os
import random
import socket
import struct
import threading
import time

import pytest
from programs import dial, listening, load, read_all, refused_address, server

RELAYS = ["null", "null_epoll"]


@pytest.fixture(params=RELAYS)
def relay(request):
    """Starts the relay towards an address."""
    with contextlib.ExitStack() as stack:
        yield lambda to: stack.enter_context(server(request.param, "--to", to))


def open_files(one):
    return len(os.listdir(f"/proc/{one.process.pid}/fd"))


def wait_until(holds, what):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("protocol, words", [
    ("http", ["--connections=32"]),
    ("echo", ["--connections=32"]),
    ("echo", ["--connections=4", "--request-bytes=3000000"]),
    ("sink", ["--connections=2"]),
    ("source", ["--connections=2"]),
    ("http", ["--connections=8", "--per-connection=1"]),
])
def test_load_through(relay, protocol, words):
    with server("origin", f"--protocol={protocol}") as origin:
        result = load(relay(origin.address).address, protocol, *words)
    assert result["errors"] == 0
    assert result["requests"] > 0 or result["bytes_in"] + result["bytes_out"] > 1 << 20


def test_bytes_in_both_directions_at_once(relay):
    up, down = random.Random(1).randbytes(20 << 20), random.Random(2).randbytes(20 << 20)
    received = []

    def serve(connection):
        sender = threading.Thread(target=connection.sendall, args=[down])
        sender.start()
        received.append(read_all(connection))
        sender.join(30)
    with listening(serve) as address, dial(relay(address).address) as client:
        def send():
            client.sendall(up)
            client.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        assert read_all(client) == down
        sender.join(30)
    assert received == [up]


def test_an_end_of_one_direction_leaves_the_other(relay):
    def serve(connection):
        asked = read_all(connection)
        time.sleep(0.2)
        connection.sendall(asked[::-1] * 1000)
    with listening(serve) as address, dial(relay(address).address) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"noitseuq" * 1000


def test_an_end_from_the_far_side_leaves_the_other_direction(relay):
    received = []

    def serve(connection):
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        received.append(read_all(connection))
    with listening(serve) as address, dial(relay(address).address) as client:
        assert read_all(client) == b"hello"
        time.sleep(0.1)
        client.sendall(b"still here")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: received, "the far side hears the rest")
    assert received == [b"still here"]


def test_one_that_does_not_read_stops_the_sender(relay):
    go_on, received = threading.Event(), []

    def serve(connection):
        go_on.wait(60)
        received.append(len(read_all(connection)))
    with listening(serve) as address, dial(relay(address).address) as client:
        sent, block = 0, bytes(1 << 20)
        client.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 30:
                sent += client.send(block)
        assert sent < 100 << 20, "the sockets' buffers are all that takes"
        go_on.set()
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: received, "everything arrives in the end")
    assert received == [sent]


def test_a_reset_ends_both_sides(relay):
    def serve(connection):
        connection.recv(4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with listening(serve) as address:
        one = relay(address)
        before = open_files(one)
        with dial(one.address) as client:
            client.sendall(b"x")
            with contextlib.suppress(ConnectionResetError):
                assert read_all(client) == b""
        wait_until(lambda: open_files(one) == before, "its sockets are closed")


def test_nobody_behind_it(relay):
    one = relay(refused_address())
    before = open_files(one)
    with dial(one.address) as client, contextlib.suppress(ConnectionResetError):
        assert read_all(client) == b""
    wait_until(lambda: open_files(one) == before, "its sockets are closed")


def test_many_that_come_and_go_leave_nothing(relay):
    with server("origin", "--protocol=echo") as origin:
        one = relay(origin.address)
        before = open_files(one)
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(dial(one.address)) for _ in range(300)]
                for i, client in enumerate(clients):
                    client.sendall(b"%d" % i)
                for i, client in enumerate(clients):
                    assert client.recv(100) == b"%d" % i
        wait_until(lambda: open_files(one) == before, "its sockets are closed")
