# SPDX-License-Identifier: Apache-2.0
"""Services whose protocol nobody declared: the first bytes tell it, or their absence does; where it is
declared, nobody waits."""
import contextlib
import time

import pytest
from machines import wait_for
from mesh import CACHE, ECHO, FAMILIES, MAIL, ORDERS, SOURCE, WEB, ScenarioMesh, at, request_text

WAIT = 2.0  # what a silent connection costs, long enough to tell it from a busy test machine
NO_WAIT = WAIT / 2


@pytest.fixture(scope="module")
def mesh():
    """`source` is declared to speak first; `mail` speaks first and nobody has said so."""
    undeclared = [at(service, protocol="detect", server_first=False) for service in (ORDERS, ECHO, CACHE, MAIL)]
    timeouts = {"detect": f"{WAIT * 1000:.0f}ms", "pool_idle": "1s"}
    with ScenarioMesh([WEB, SOURCE, *undeclared], groups={"timeouts": timeouts}) as mesh:
        yield mesh.start()


@contextlib.contextmanager
def counted(mesh, node="vm-a", **expected):
    """Exactly these counters of detection move, by that much; the others stay."""
    def now():
        return {name: mesh[node].metric(f"ringmain_detect_{name}_total") for name in ("http", "tcp", "timeout")}
    before = now()
    yield
    wanted = {name: before[name] + expected.get(name, 0) for name in before}
    wait_for(lambda: now() == wanted, f"{wanted}, not {now()}")


# --- by its first bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_http_is_carried_as_http(mesh, family):
    with counted(mesh, http=1):
        start = time.monotonic()
        reply = mesh.call("web", "orders", f"GET /echo/detected-{family}", family=family)
        assert time.monotonic() - start < NO_WAIT
    assert reply.status == 200 and "service/web" in reply.body.decode()  # a header of the far proxy's
    for node in ("vm-a", "vm-b"):
        assert mesh.access_line(node, path=f"/echo/detected-{family}")["protocol"] == "http"


def test_http_that_comes_byte_by_byte_is_carried_as_http(mesh):
    with counted(mesh, http=1), mesh.dial("web", "orders") as wire:
        for byte in request_text("GET /echo", "orders"):
            wire.send(bytes([byte]))
            time.sleep(0.002)
        assert wire.reply().status == 200


def test_a_connection_is_detected_once(mesh):
    with counted(mesh, http=1), mesh.dial("web", "orders") as wire:
        for _ in range(3):
            assert wire.send(request_text("GET /echo", "orders")).reply().status == 200


def test_redis_is_carried_as_bytes(mesh):
    with counted(mesh, tcp=1), mesh.dial("web", "cache") as wire:
        start = time.monotonic()
        assert wire.send("*1\r\n$4\r\nPING\r\n").until(b"\r\n") == b"+PONG\r\n"
        assert time.monotonic() - start < NO_WAIT


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00", b"HELO x\r\n"],
                         ids=["tls", "http2", "zero", "text"])
def test_other_bytes_arrive_as_they_are(mesh, first):
    with counted(mesh, tcp=1), mesh.dial("web", "echo") as wire:
        start = time.monotonic()
        assert wire.send(first).exactly(len(first)) == first
        assert time.monotonic() - start < NO_WAIT


def test_the_machine_of_the_server_does_not_detect_again(mesh):
    with counted(mesh, node="vm-b"):
        assert mesh.call("web", "orders").status == 200
        with mesh.dial("web", "echo") as wire:
            assert wire.send("x").exactly(1) == b"x"


# --- by silence ----------------------------------------------------------------------------------------


def test_an_undeclared_server_that_speaks_first_costs_the_timeout_and_is_counted(mesh):
    with counted(mesh, tcp=1, timeout=1), mesh.dial("web", "mail") as wire:
        start = time.monotonic()
        assert wire.until(b"\r\n") == b"220 mail ready\r\n"
        assert WAIT * 0.9 < time.monotonic() - start < WAIT + 2
        assert wire.send("HELO there\r\n").until(b"\r\n") == b"250 HELO there\r\n"


def test_a_part_of_a_method_waits_for_the_rest_or_the_timeout(mesh):
    with counted(mesh, tcp=1, timeout=1), mesh.dial("web", "echo") as wire:
        start = time.monotonic()
        assert wire.send("GE").exactly(2) == b"GE"
        assert WAIT * 0.9 < time.monotonic() - start < WAIT + 2


def test_a_client_that_ends_without_a_byte_is_carried_at_once(mesh):
    with counted(mesh, tcp=1), mesh.dial("web", "echo") as wire:
        start = time.monotonic()
        assert wire.finish().rest() == b""
        assert time.monotonic() - start < NO_WAIT


def test_a_silent_connection_delays_no_other(mesh):
    silent = [mesh.dial("web", "mail") for _ in range(20)]
    start = time.monotonic()
    assert mesh.call("web", "orders").status == 200
    assert time.monotonic() - start < NO_WAIT
    for wire in silent:
        wire.sock.close()
    wait_for(lambda: mesh["vm-a"].metric("ringmain_connections_active") == 0, "them to end, and what was pooled")


# --- declared --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_declared_server_that_speaks_first_never_waits(mesh, family):
    with counted(mesh), mesh.dial("web", "source", family) as wire:
        start = time.monotonic()
        assert wire.exactly(10)
        assert time.monotonic() - start < NO_WAIT


def test_on_one_machine_the_same(mesh):
    with counted(mesh, node="vm-b", http=1, tcp=1):
        assert mesh.call("cache", "orders").status == 200
        with mesh.dial("cache", "echo") as wire:
            assert wire.send("x").exactly(1) == b"x"
