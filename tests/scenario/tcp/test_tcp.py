# SPDX-License-Identifier: Apache-2.0
"""Opaque TCP: whatever a client and a server do to each other, they do it through the mesh too."""
import hashlib
import socket
import threading
import time

import pytest
from mesh import (BLOCK, CACHE, ECHO, FAMILIES, MAIL, PROBE, RESET, SINK, SOURCE, WEB, ScenarioMesh, Wire,
                  request_text)

MIB64 = 64 << 20


@pytest.fixture(scope="module")
def mesh():
    with ScenarioMesh([WEB, CACHE, MAIL, ECHO, SOURCE, SINK, RESET, PROBE]) as mesh:
        yield mesh.start()


@pytest.fixture
def pair(mesh):
    """A client's and a server's end of one connection through the mesh."""
    listener = mesh.listen("probe")
    client = mesh.dial("web", "probe")
    client.send("first")  # a client that speaks first: the server is dialled by then
    accepted, _ = listener.accept()
    accepted.settimeout(15)
    server = Wire(accepted)
    assert server.exactly(5) == b"first"
    yield client, server
    for s in (client.sock, server.sock, listener):
        s.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_redis(mesh, family):
    host, port = mesh.target("cache", family)
    machine = mesh.lab["vm-a"]

    def redis(*words):
        return machine.run(["redis-cli", "-h", host, "-p", port, *words], uid=WEB.uid).stdout.strip()
    value = "v" * 100000
    assert redis("ping") == "PONG"
    assert redis("set", "key", value) == "OK"
    assert redis("get", "key") == value
    assert redis("--pipe-timeout", "5", "incr", "n").isdigit()


@pytest.mark.parametrize("family", FAMILIES)
def test_server_speaks_first(mesh, family):
    start = time.monotonic()
    with mesh.dial("web", "mail", family) as wire:
        assert wire.until(b"\r\n") == b"220 mail ready\r\n"
        assert time.monotonic() - start < 0.8  # not by waiting for detection to give up
        assert wire.send("HELO there\r\n").until(b"\r\n") == b"250 HELO there\r\n"
        assert wire.send("QUIT\r\n").rest() == b"221 bye\r\n"


@pytest.mark.parametrize("family", FAMILIES)
def test_echo(mesh, family):
    with mesh.dial("web", "echo", family) as wire:
        for size in (1, 100, 65536, 16384, 1):
            assert wire.send(BLOCK[:size]).exactly(size) == BLOCK[:size]


def test_http_bytes_to_a_tcp_service_are_left_alone(mesh):
    text = request_text("GET /", "echo", ["X : odd"])
    with mesh.dial("web", "echo") as wire:
        assert wire.send(text).exactly(len(text)) == text


def test_half_close_of_the_client(mesh):
    with mesh.dial("web", "sink") as wire:
        answer = wire.send(BLOCK).finish().rest().split()
    assert answer == [b"65536", hashlib.sha256(BLOCK).hexdigest().encode()]


def test_half_close_of_the_server(pair):
    client, server = pair
    server.send("last words").finish()
    assert client.rest() == b"last words"
    client.send(BLOCK).finish()  # still open the other way
    assert server.rest() == BLOCK


def test_server_that_finishes_first_and_reads_on(mesh):
    with mesh.dial("web", "source") as wire:
        assert wire.rest() == BLOCK * 16
        wire.send(b"thanks").finish()


def test_both_finish_at_once(pair):
    client, server = pair
    client.finish()
    server.finish()
    assert client.rest() == b"" and server.rest() == b""


def test_reset_of_the_server_is_a_reset_for_the_client(mesh):
    with mesh.dial("web", "reset") as wire:
        assert wire.send("x").ended() == "reset"


def test_reset_of_the_client_is_a_reset_for_the_server(pair):
    client, server = pair
    client.reset()
    assert server.ended() == "reset"


def test_abort_after_half_close_is_still_a_reset(pair):
    client, server = pair
    client.finish()
    assert server.ended() == "fin"
    client.reset()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        for _ in range(50):
            server.send(BLOCK)
            time.sleep(0.02)


def test_nobody_listens(mesh):
    """The service is in the mesh but its server is down: a reset, promptly."""
    start = time.monotonic()
    assert mesh.turned_away("web", "probe")
    assert time.monotonic() - start < 3


def test_bulk_up(mesh):
    with mesh.dial("web", "sink", timeout=60) as wire:
        for _ in range(MIB64 // len(BLOCK)):
            wire.send(BLOCK)
        count, sha256 = wire.finish().rest().split()
    assert int(count) == MIB64
    assert sha256.decode() == hashlib.sha256(BLOCK * (MIB64 // len(BLOCK))).hexdigest()


def test_bulk_both_ways_at_once(mesh):
    total, received = 16 << 20, hashlib.sha256()
    with mesh.dial("web", "echo", timeout=60) as wire:
        def send():
            for _ in range(total // len(BLOCK)):
                wire.send(BLOCK)
            wire.finish()
        sender = threading.Thread(target=send)
        sender.start()
        count = 0
        while part := wire.sock.recv(1 << 18):
            received.update(part)
            count += len(part)
        sender.join()
    assert count == total
    assert received.hexdigest() == hashlib.sha256(BLOCK * (total // len(BLOCK))).hexdigest()


def test_many_short_connections(mesh):
    for number in range(200):
        with mesh.dial("web", "echo") as wire:
            assert wire.send(b"%d" % number).finish().rest() == b"%d" % number


def test_connection_without_a_byte(mesh):
    with mesh.dial("web", "sink") as wire:
        assert wire.finish().rest().split()[0] == b"0"


def test_bytes_are_counted(mesh):
    def received():
        return mesh["vm-b"].metric("istio_tcp_received_bytes_total", reporter="destination",
                                   destination_service_name="sink")
    before = received()
    with mesh.dial("web", "sink") as wire:
        wire.send(BLOCK).finish().rest()
    deadline = time.monotonic() + 5
    while received() - before < len(BLOCK) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert received() - before == len(BLOCK)
