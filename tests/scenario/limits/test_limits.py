# SPDX-License-Identifier: Apache-2.0
"""Every limit and every timeout: what is too much or too long gets its defined answer, and nobody
else notices."""
import contextlib
import re
import socket
import threading
import time

import pytest
from machines import process_status, wait_for
from mesh import (BINARY, BLOCK, DEAF, ECHO, GUEST, MESH_PORT, ORDERS, PROBE, SPRAY, STOCK, STRANGER_UID, WEB, ScenarioMesh,
                  Wire, at, request_text)

TIMEOUTS = {"connect": "1s", "handshake": "1s", "header": "1s", "idle": "2s", "stream_idle": "2s",
            "half_close": "1s", "request": "1500ms", "pool_idle": "1s"}
CONNECTIONS = 8


@pytest.fixture(scope="module")
def mesh():
    """The defaults, and a cap for one workload."""
    services = [WEB, GUEST, ORDERS, ECHO, SPRAY, DEAF,
                at(STOCK, limits={"connections_max": CONNECTIONS})]
    with ScenarioMesh(services) as mesh:
        yield mesh.start()


@pytest.fixture(scope="module")
def hasty():
    """Short timeouts everywhere."""
    with ScenarioMesh([WEB, ORDERS, ECHO, DEAF, PROBE], groups={"timeouts": TIMEOUTS}) as mesh:
        yield mesh.start()


def resident_kib(node):
    return int(process_status(node.proxy_pid())["VmRSS"].split()[0])


def sent_by(mesh, name):
    """Bytes that the server of a service has got rid of, over its open connections."""
    port = mesh.service(name).port
    listed = mesh.lab["vm-b"].run(["ss", "-Htin", "state", "established", f"sport = :{port}"]).stdout
    return sum(int(count) for count in re.findall(r"bytes_sent:(\d+)", listed))


# --- backpressure -------------------------------------------------------------------------------------


def test_slow_reader_stops_the_sender(mesh):
    """A server without end and callers that do not read: the bytes stay with the server."""
    wires = []

    def stop_more(count):
        for _ in range(count):
            wires.append(mesh.dial("web", "spray"))
            wires[-1].exactly(100)
        time.sleep(2)
        return [resident_kib(node) for node in mesh]
    before = stop_more(20)  # which also fills the pools that are filled once
    after = stop_more(40)

    def at_rest():
        first = sent_by(mesh, "spray")
        time.sleep(2)
        return sent_by(mesh, "spray") == first > 0
    wait_for(at_rest, "the buffers of all sockets to be full, and nothing to move any more", 20)
    for wire in wires:
        wire.sock.close()
    for was, now in zip(before, after):
        assert now - was < 40 * 256, "a stopped connection holds more than 256 KiB"


def test_a_stopped_reader_gets_everything_later(mesh):
    count = 8 << 20
    with mesh.dial("web", "orders", timeout=30) as wire:
        wire.send(request_text(f"GET /bytes/{count}", "orders"))
        time.sleep(2)
        assert wire.reply().body == (BLOCK * (count // len(BLOCK)))


def test_slow_server_stops_the_caller(mesh):
    with mesh.dial("web", "deaf", timeout=3) as wire:
        wire.sock.setblocking(False)
        sent, end = 0, time.monotonic() + 3
        while time.monotonic() < end:
            try:
                sent += wire.sock.send(BLOCK)
            except BlockingIOError:
                time.sleep(0.05)
    assert sent < 64 << 20  # kernel buffers on five sockets, and ours


def test_others_do_not_notice_a_stopped_reader(mesh):
    wires = [mesh.dial("web", "spray") for _ in range(20)]
    start = time.monotonic()
    for _ in range(50):
        assert mesh.call("guest", "orders").status == 200
    assert time.monotonic() - start < 10
    for wire in wires:
        wire.sock.close()


@pytest.fixture
def few_files(tmp_path):
    """A node that may have few descriptors."""
    program = tmp_path / "ringmain"
    program.write_text(f'#!/bin/sh\nexec prlimit --nofile=256:256 {BINARY} "$@"\n')
    program.chmod(0o755)
    with ScenarioMesh([WEB, ORDERS], binary=program) as mesh:
        yield mesh.start()


def test_running_out_of_descriptors(few_files):
    """Further connections are turned away, those that are here go on, and so do the admin pages."""
    mesh, node = few_files, few_files["vm-b"]
    with mesh.dial("web", "orders") as here:
        assert here.send(request_text("GET /echo", "orders")).reply().status == 200
        flood = mesh.lab["vm-a"].sockets(0, count=400)
        for sock in flood:
            with contextlib.suppress(ConnectionError):
                sock.connect((mesh.lab["vm-b"].v4, MESH_PORT))
        wait_for(lambda: node.metric("ringmain_limit_refused_total") > 100, "refusals")
        assert here.send(request_text("GET /echo", "orders")).reply().status == 200
        node.reload()
        wait_for(lambda: node.metric("ringmain_generation") == 2, "a reload")
        for sock in flood:
            sock.close()
    wait_for(lambda: mesh.call("web", "orders").status == 200, "room for new connections")


# --- caps ----------------------------------------------------------------------------------------------


def test_connections_of_one_workload(mesh):
    held = []
    for _ in range(CONNECTIONS):  # each with a request under way needs a connection of its own
        wire = mesh.dial("web", "stock", timeout=5)
        wire.send("POST / HTTP/1.1\r\nHost: stock\r\nContent-Length: 10\r\n\r\n12345")
        held.append(wire)
    time.sleep(1)
    refused = mesh["vm-b"].metric("ringmain_limit_refused_total")
    try:
        assert mesh.call("web", "stock", timeout=5).status == 503
    except (EOFError, ConnectionError):
        pass  # refused before a request could be read
    wait_for(lambda: mesh["vm-b"].metric("ringmain_limit_refused_total") > refused, "the refusal to be counted")
    assert mesh.call("web", "orders").status == 200  # another workload of the same machine
    for wire in held:
        assert wire.send("67890").reply().status == 200
        wire.sock.close()
    wait_for(lambda: mesh.call("web", "stock", timeout=5).status == 200, "room again")


def test_all_buffers_together():
    """Buffers for a few dozen stopped connections and no more: who needs one beyond that is turned away
    with the reason, and all is well when they are given back."""
    buffer_bytes, most = 20 << 10, 1 << 20
    with ScenarioMesh([WEB, ORDERS, SPRAY], groups={"limits": {"buffers_bytes_max": "1M"}}, workers=1) as mesh:
        mesh.start()
        wires = [mesh.dial("web", "spray") for _ in range(5)]
        for wire in wires:  # while there is room: later it may be they who need one more
            wire.exactly(1000)
        wires += [mesh.dial("web", "spray") for _ in range(55)]
        time.sleep(2)
        for node in mesh:
            assert node.metric("ringmain_buffers_held") <= most / buffer_bytes + 1
        with contextlib.suppress(EOFError, OSError):
            assert mesh.call("web", "orders", timeout=3).status in (200, 503)
        reasons = {line.get("response_code_details") for node in mesh for line in node.access()}
        assert "OVERLOAD" in reasons
        for wire in wires:
            wire.sock.close()
        wait_for(lambda: mesh.call("web", "orders", timeout=3).status == 200, "room again")
        wait_for(lambda: sum(node.metric("ringmain_buffers_held") for node in mesh) == 0, "the buffers to be given back")


# --- timeouts ------------------------------------------------------------------------------------------


def took(start, low, high):
    seconds = time.monotonic() - start
    assert low <= seconds <= high, f"took {seconds:.2f} s, not {low} to {high}"


@pytest.mark.parametrize("start_of_head", ["G", "GET /x HTTP/1.1\r\nHost: ord"])
def test_header_timeout(hasty, start_of_head):
    with hasty.dial("web", "orders") as wire:
        start = time.monotonic()
        wire.send(start_of_head)
        assert wire.reply().status == 408
        took(start, 0.8, 2.5)
        assert wire.ended() in ("fin", "reset")


def test_a_trickle_is_no_way_around_the_header_timeout(hasty):
    with hasty.dial("web", "orders") as wire:
        start = time.monotonic()
        wire.send("GET /x HTTP/1.1\r\nHost: orders\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(12):
                wire.send(f"X-{number}: 1\r\n")
                time.sleep(0.2)
        with contextlib.suppress(ConnectionError, EOFError):
            assert wire.reply().status == 408
        took(start, 0.8, 3.5)


def test_idle_http_connection_is_closed(hasty):
    with hasty.dial("web", "orders") as wire:
        assert wire.send(request_text("GET /echo", "orders")).reply().status == 200
        start = time.monotonic()
        assert wire.ended(6) in ("fin", "reset")
        took(start, 1.5, 4)


def test_idle_tcp_connection_is_closed(hasty):
    with hasty.dial("web", "echo") as wire:
        wire.send("x").exactly(1)
        start = time.monotonic()
        assert wire.ended(6) in ("fin", "reset")
        took(start, 1.5, 4)


def test_busy_tcp_connection_is_not_idle(hasty):
    with hasty.dial("web", "echo") as wire:
        for _ in range(8):
            assert wire.send("x").exactly(1) == b"x"
            time.sleep(0.5)


def test_half_closed_connection_without_movement(hasty):
    with hasty.dial("web", "deaf") as wire:
        start = time.monotonic()
        wire.send("x").finish()
        assert wire.ended(6) in ("fin", "reset")
        took(start, 0.5, 4)


@pytest.mark.parametrize("begin", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a byte", "a part"])
def test_handshake_timeout(hasty, begin):
    plain = hasty.lab["vm-a"].connect(STRANGER_UID, hasty.lab["vm-b"].v4, MESH_PORT)
    start = time.monotonic()
    with Wire(plain) as wire:
        wire.send(begin)
        assert wire.ended(6) in ("fin", "reset")
        took(start, 0.5, 3)


def test_connect_timeout(hasty):
    machine = hasty.lab["vm-b"]
    rule = ["INPUT", "-p", "tcp", "--dport", str(MESH_PORT), "-j", "DROP"]
    time.sleep(1.5)  # pooled connections are gone by then
    machine.run(["iptables", "-w", "-I", *rule])
    try:
        start = time.monotonic()
        assert hasty.call("web", "orders", "GET /echo/dropped").status == 503
        took(start, 0.8, 4)
        details = hasty.access_line("vm-a", path="/echo/dropped")["response_code_details"]
        assert details == "UPSTREAM_CONNECT_TIMEOUT"
    finally:
        machine.run(["iptables", "-w", "-D", *rule])
    assert hasty.call("web", "orders").status == 200


def test_request_timeout(hasty):
    start = time.monotonic()
    reply = hasty.call("web", "orders", "GET /slow/5000")
    assert reply.status == 504
    took(start, 1.2, 3.5)


def test_upstream_down(hasty):
    """The server's port is closed: 503, at once, with the reason in one log line."""
    workload = hasty.workload("orders")
    workload.stop()
    try:
        start = time.monotonic()
        assert hasty.call("web", "orders", "GET /echo/down").status == 503
        took(start, 0, 1)
        assert hasty.access_line("vm-b", path="/echo/down")["response_code_details"] == "UPSTREAM_CONNECT_FAILED"
    finally:
        hasty.serve_one(hasty.service("orders"), hasty.lab["vm-b"])
    assert hasty.call("web", "orders").status == 200


def test_handshakes_that_stall_do_not_stop_others(hasty):
    stalled = [hasty.lab["vm-a"].connect(STRANGER_UID, hasty.lab["vm-b"].v4, MESH_PORT) for _ in range(100)]
    for s in stalled:
        s.send(b"\x16\x03\x01")
    assert hasty.call("web", "orders", timeout=8).status == 200
    for s in stalled:
        s.close()


def test_idle_connections_of_a_pool_are_given_up(hasty):
    assert hasty.call("web", "orders").status == 200
    wait_for(lambda: hasty["vm-a"].metric("ringmain_upstream_idle") == 0, "the pool to be empty", 6)


def test_callers_all_at_once(mesh):
    """A burst of connections wider than any queue: each is served in the end."""
    sockets = mesh.lab["vm-a"].sockets(WEB.uid, socket.AF_INET, 300)
    statuses = []

    def call(s):
        s.settimeout(30)
        s.connect(mesh.target("orders"))
        with Wire(s) as wire:
            statuses.append(wire.send(request_text("GET /echo", "orders")).reply().status)
    threads = [threading.Thread(target=call, args=(s,)) for s in sockets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 300
