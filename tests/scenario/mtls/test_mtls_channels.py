# SPDX-License-Identifier: Apache-2.0
"""Requests of one caller to one destination share a connection between two machines; nobody notices but
the wire."""
import contextlib
import os
import signal

import pytest
from machines import wait_for
from mesh import (ECHO, GUEST, MESH_PORT, ORDERS, WEB, ScenarioMesh, capture_streams, request_text,
                  tls_records)

CALLERS = 64
SECRET = "never-in-the-clear-51d0"
MIB16 = 16 << 20
POLICIES = [
    {"service": "orders", "action": "allow", "from": ["web"]},
    {"service": "echo", "action": "allow", "from": ["web"]},
]


@pytest.fixture(scope="module")
def mesh():
    with ScenarioMesh([WEB, GUEST, ORDERS, ECHO], policies=POLICIES, default_policy="deny",
                      workers=1) as mesh:
        yield mesh.start()


@contextlib.contextmanager
def dialled(mesh, caller="web", count=CALLERS):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(mesh.dial(caller, "orders")) for _ in range(count)]


def ask_all(wires, line):
    for wire in wires:
        wire.send(request_text(line, "orders"))
    return [wire.reply() for wire in wires]


def mesh_connections(path):
    """The streams between the machines' proxies, both directions of a connection as one."""
    return {(key[0], key[1]) if key[3] == MESH_PORT else (key[2], key[3])
            for key, stream in capture_streams(path).items() if stream and MESH_PORT in (key[1], key[3])}


def test_many_callers_share_a_connection_and_the_wire_is_tls(mesh):
    with mesh.capture() as path, dialled(mesh) as wires:
        for _ in range(3):
            replies = ask_all(wires, f"GET /echo/{SECRET}")
            assert {reply.status for reply in replies} == {200}
            assert all(SECRET in reply.body.decode() for reply in replies)
        assert mesh["vm-b"].metric("ringmain_channels_active") == CALLERS
    assert 1 <= len(mesh_connections(path)) <= 2
    assert SECRET.encode() not in path.read_bytes()
    for stream in capture_streams(path).values():
        tls_records(stream)
    # each machine's log has each request
    for node in mesh:
        wait_for(lambda: len(mesh.access_lines(node.name, path=f"/echo/{SECRET}")) == 3 * CALLERS,
                 "each request to be logged")


def test_two_callers_never_share(mesh):
    with mesh.capture() as path, dialled(mesh, "web", 4) as allowed, dialled(mesh, "guest", 4) as denied:
        for _ in range(3):
            assert {reply.status for reply in ask_all(allowed, "GET /echo")} == {200}
            assert {reply.status for reply in ask_all(denied, "GET /echo")} == {403}
    # web's may be the connection of the test before
    assert len(mesh_connections(path)) == 2


def test_a_client_that_does_not_read_stops_nobody_else(mesh):
    with dialled(mesh, "web", 8) as wires:
        slow, quick = wires[0], wires[1:]
        slow.send(request_text(f"GET /bytes/{MIB16}", "orders"))
        slow.head()
        for _ in range(20):
            assert {reply.status for reply in ask_all(quick, "GET /echo")} == {200}
        assert len(slow.exactly(MIB16)) == MIB16


def test_the_loss_of_the_other_proxy_is_survived(mesh):
    with dialled(mesh, "web", 8) as wires:
        assert {reply.status for reply in ask_all(wires, "GET /echo")} == {200}
        os.kill(mesh["vm-b"].proxy_pid(), signal.SIGKILL)
        wait_for(lambda: mesh.status_of("web", "orders") == 200, "the proxy to be back")
        assert {reply.status for reply in ask_all(wires, "GET /echo")} == {200}


@pytest.mark.parametrize("without", ["vm-a", "vm-b"])
def test_a_proxy_that_has_it_switched_off(without):
    with ScenarioMesh([WEB, ORDERS], workers=1) as mesh:
        mesh[without].groups = {"mesh": {"channels": False}}
        mesh.start()
        with dialled(mesh, "web", 8) as wires:
            for _ in range(3):
                assert {reply.status for reply in ask_all(wires, "GET /echo")} == {200}
        for node in mesh:
            assert node.metric("ringmain_channels_total") == 0


def test_it_is_switched_off_by_a_reload():
    with ScenarioMesh([WEB, ORDERS], workers=1) as mesh:
        mesh.start()
        with dialled(mesh, "web", 8) as wires:
            assert {reply.status for reply in ask_all(wires, "GET /echo")} == {200}
            node = mesh["vm-a"]
            opened = node.metric("ringmain_channels_total")
            assert opened == 8
            node.groups = {"mesh": {"channels": False}}
            node.write_config()
            node.reload()
            for _ in range(3):
                assert {reply.status for reply in ask_all(wires, "GET /echo")} == {200}
            assert node.metric("ringmain_channels_total") == opened
            wait_for(lambda: mesh["vm-b"].metric("ringmain_channels_active") == 0, "the old ones to close")
